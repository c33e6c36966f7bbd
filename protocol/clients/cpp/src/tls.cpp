#include "tls.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace scaler::detail {
namespace {

constexpr std::size_t RECORD_BYTES = 16 << 10;

std::string last_error() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason ? reason : "TLS failed";
}

bool is_ip(const std::string& name) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

}  // namespace

Tls::Tls(int socket, const TlsOptions& options, const std::string& host)
    : socket_(socket), context_(SSL_CTX_new(TLS_client_method())) {
  std::string name = options.server_name.empty() ? host : options.server_name;
  trust(options, name);
  ssl_.reset(SSL_new(context_.get()));
  incoming_ = BIO_new(BIO_s_mem());
  outgoing_ = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(incoming_, -1);
  SSL_set_bio(ssl_.get(), incoming_, outgoing_);
  if (is_ip(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str());
  } else {
    SSL_set1_host(ssl_.get(), name.c_str());
    SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
  }
  while (true) {
    int done = SSL_connect(ssl_.get());
    bool more = done != 1 && SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ;
    send();
    if (done == 1) break;
    if (!more) fail();
    if (!receive(0)) throw ConnectionLost("the peer closed the connection in the TLS handshake");
  }
  std::unique_ptr<X509, Freed<X509_free>> certificate(SSL_get1_peer_certificate(ssl_.get()));
  channel_.resize(32);
  X509_digest(certificate.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(channel_.data()), nullptr);
}

void Tls::trust(const TlsOptions& options, const std::string& name) {
  auto* context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  if (name.empty()) throw Error("an address with TLS has a host");
  if (options.ca.empty() ? !SSL_CTX_set_default_verify_paths(context)
                         : !SSL_CTX_load_verify_locations(context, options.ca.c_str(), nullptr))
    throw Error("cannot read certificates from " + options.ca + ": " + last_error());
  if (options.certificate.empty()) return;
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()) != 1)
    throw Error("cannot read the certificate " + options.certificate + ": " + last_error());
  if (SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM) != 1)
    throw Error("cannot use the key " + options.key + ": " + last_error());
}

std::size_t Tls::read(char* into, std::size_t bytes) {
  while (true) {
    {
      std::lock_guard guard(mutex_);
      std::size_t got = 0;
      int done = SSL_read_ex(ssl_.get(), into, bytes, &got);
      if (done == 1) return got;
      int error = SSL_get_error(ssl_.get(), done);
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error != SSL_ERROR_WANT_READ) fail();
    }
    if (!receive(0)) return 0;
  }
}

bool Tls::readable() {
  while (true) {
    {
      std::lock_guard guard(mutex_);
      char byte;
      int done = SSL_peek(ssl_.get(), &byte, 1);
      if (done == 1 || SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ) return true;
    }
    char byte;
    ssize_t got = ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (got <= 0 || !receive(MSG_DONTWAIT)) return true;  // read() tells what it is.
  }
}

// Takes what has come over the socket; false when it has ended.
bool Tls::receive(int flags) {
  char bytes[RECORD_BYTES];
  ssize_t got;
  do got = ::recv(socket_, bytes, sizeof bytes, flags);
  while (got < 0 && errno == EINTR);
  if (got < 0) throw ConnectionLost(std::string("the connection broke: ") + std::strerror(errno));
  std::lock_guard guard(mutex_);
  BIO_write(incoming_, bytes, static_cast<int>(got));
  return got > 0;
}

void Tls::write(std::string_view bytes) {
  while (!bytes.empty()) {
    auto piece = bytes.substr(0, RECORD_BYTES);
    {
      std::lock_guard guard(mutex_);
      if (SSL_write(ssl_.get(), piece.data(), static_cast<int>(piece.size())) <= 0) fail();
    }
    send();
    bytes.remove_prefix(piece.size());
  }
}

void Tls::finish() {
  {
    std::lock_guard guard(mutex_);
    SSL_shutdown(ssl_.get());
  }
  try {
    send();
  } catch (const ConnectionLost&) {
    // The peer has left before.
  }
}

// Sends what there is to send. Only the writing thread does.
void Tls::send() {
  std::string bytes;
  {
    std::lock_guard guard(mutex_);
    bytes.resize(BIO_ctrl_pending(outgoing_));
    if (!bytes.empty()) BIO_read(outgoing_, bytes.data(), static_cast<int>(bytes.size()));
  }
  for (std::string_view left = bytes; !left.empty();) {
    ssize_t sent = ::send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw ConnectionLost(std::string("the connection broke: ") + std::strerror(errno));
    left.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Tls::fail() const {
  long verified = SSL_get_verify_result(ssl_.get());
  if (verified != X509_V_OK)
    throw Refused(std::string("the peer's certificate is not trusted: ") + X509_verify_cert_error_string(verified));
  throw Refused("TLS: " + last_error());
}

}  // namespace scaler::detail
