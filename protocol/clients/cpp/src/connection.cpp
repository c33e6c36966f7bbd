#include "connection.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "scaler/client.hpp"

static_assert(std::endian::native == std::endian::little, "columns are little-endian, and copied as they are");

namespace scaler::detail {
namespace {

constexpr std::uint16_t OLDEST_VERSION = 1;
constexpr std::size_t NONCE_BYTES = 32;
constexpr int HANDSHAKE_SECONDS = 10;
constexpr int GOODBYE_SECONDS = 5;
constexpr int SILENT_SECONDS = 30;  // in the middle of a frame

std::string text_of(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
std::string_view bytes_of(capnp::Data::Reader data) { return {reinterpret_cast<const char*>(data.begin()), data.size()}; }
capnp::Data::Reader data_of(std::string_view bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}

template <class T>
void append(std::string& said, T number) {
  said.append(reinterpret_cast<const char*>(&number), sizeof number);
}

int connected(int family, const sockaddr* address, socklen_t length) {
  int made = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval patience{HANDSHAKE_SECONDS, 0}, no_limit{};
  ::setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (made >= 0 && ::connect(made, address, length) != 0) {
    int error = errno;
    ::close(made);
    errno = error;
    return -1;
  }
  ::setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &no_limit, sizeof no_limit);
  return made;
}

}  // namespace

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
    throw Error("no random bytes");
  return bytes;
}

Header Header::read(const unsigned char bytes[8], bool handshake) {
  Header header{};
  std::memcpy(&header.message_bytes, bytes, 4);
  std::memcpy(&header.attachment_bytes, bytes + 4, 4);
  if (header.message_bytes < 8 || header.message_bytes % 8 ||
      header.message_bytes > (handshake ? MAX_HANDSHAKE_BYTES : MAX_MESSAGE_BYTES))
    throw Error("a frame with a message of " + std::to_string(header.message_bytes) + " bytes");
  if (header.attachment_bytes > (handshake ? 0 : MAX_ATTACHMENT_BYTES))
    throw Error("a frame with an attachment of " + std::to_string(header.attachment_bytes) + " bytes");
  return header;
}

std::string mac(std::string_view secret, std::string_view who, wire::Hello::Reader hello, std::string_view nonce,
                std::string_view more) {
  std::string said(who);
  said += bytes_of(hello.getNonce());
  said += nonce;
  said += bytes_of(hello.getIdentity());
  append(said, static_cast<std::uint16_t>(hello.getRole()));
  append(said, hello.getProtocolVersion());
  append(said, hello.getOldestVersion());
  said += more;
  std::string found(32, '\0');
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(said.data()),
       said.size(), reinterpret_cast<unsigned char*>(found.data()), nullptr);
  return found;
}

Connection::Connection(const std::string& address, wire::Role role, const std::string& identity,
                       const ClientOptions& options) {
  std::string host = dial(address);
  try {
    timeval patience{HANDSHAKE_SECONDS, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (address.starts_with("tls://")) tls_ = std::make_unique<Tls>(socket_, options.tls, host);
    shake_hands(role, identity, options.name, options.secret);
  } catch (...) {
    ::close(socket_);
    throw;
  }
}

Connection::~Connection() { ::close(socket_); }

std::string Connection::dial(const std::string& address) {
  std::string host;
  if (address.starts_with("ipc://")) {
    sockaddr_un place{};
    place.sun_family = AF_UNIX;
    std::string path = address.substr(6);
    if (path.empty() || path.size() >= sizeof place.sun_path) throw Error("'" + address + "' is no address");
    std::memcpy(place.sun_path, path.data(), path.size());
    socket_ = connected(AF_UNIX, reinterpret_cast<sockaddr*>(&place), sizeof place);
  } else {
    auto colon = address.rfind(':');
    if (!(address.starts_with("tcp://") || address.starts_with("tls://")) || colon < 7)
      throw Error("'" + address + "' is no address; write tcp://host:port or tls://host:port");
    std::string port = address.substr(colon + 1);
    host = address.substr(6, colon - 6);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found))
      throw ConnectionLost("cannot reach " + address + ": " + gai_strerror(code));
    for (auto* each = found; each && socket_ < 0; each = each->ai_next)
      socket_ = connected(each->ai_family, each->ai_addr, each->ai_addrlen);
    int error = errno;
    ::freeaddrinfo(found);
    errno = error;
    int one = 1;
    if (socket_ >= 0) ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  if (socket_ < 0) throw ConnectionLost("cannot reach " + address + ": " + std::strerror(errno));
  return host;
}

void Connection::shake_hands(wire::Role role, const std::string& identity, const std::string& name,
                             const std::string& secret) {
  std::string channel = tls_ ? tls_->channel() : "";
  std::string nonce = secret.empty() ? "" : random_bytes(NONCE_BYTES), challenge;
  capnp::MallocMessageBuilder said;
  auto hello = said.initRoot<wire::Handshake>().initHello();
  hello.setMagic(wire::MAGIC);
  hello.setProtocolVersion(wire::PROTOCOL_VERSION);
  hello.setOldestVersion(OLDEST_VERSION);
  hello.setRole(role);
  hello.setIdentity(data_of(identity));
  hello.setName(name);
  hello.setNonce(data_of(nonce));
  write(said);
  while (true) {
    Frame frame = read();
    capnp::FlatArrayMessageReader reader(frame.words, frame.limits());
    auto answer = reader.getRoot<wire::Handshake>();
    if (answer.isRefused()) throw Refused(text_of(answer.getRefused().getText()));
    if (answer.isChallenge() && challenge.empty()) {
      if (secret.empty()) throw Refused("the peer asks for a secret, and this client has none");
      if (answer.getChallenge().getMethod() != "hmac-sha256")
        throw Refused("the peer asks for authentication by " + text_of(answer.getChallenge().getMethod()));
      challenge = bytes_of(answer.getChallenge().getNonce());
      if (challenge.size() != NONCE_BYTES) throw Error("a challenge of " + std::to_string(challenge.size()) + " bytes");
      capnp::MallocMessageBuilder proved;
      auto proof = mac(secret, "scaler dialer", hello.asReader(), challenge, channel);
      proved.initRoot<wire::Handshake>().initProof().setMac(data_of(proof));
      write(proved);
      continue;
    }
    if (!answer.isWelcome()) throw Error("the peer answers hello with something else");
    auto welcome = answer.getWelcome();
    if (welcome.getMagic() != wire::MAGIC) throw Error("the peer does not speak Scaler's protocol");
    auto version = welcome.getProtocolVersion();
    if (version < OLDEST_VERSION || version > wire::PROTOCOL_VERSION)
      throw Error("the peer picked protocol version " + std::to_string(version) + ", not known here");
    listener_ = bytes_of(welcome.getIdentity());
    if (!secret.empty()) {
      if (challenge.empty()) throw Refused("the peer asks for no secret, and this client has one");
      std::string more;
      append(more, version);
      auto expected = mac(secret, "scaler listener", hello.asReader(), challenge, more + listener_ + channel);
      auto proof = bytes_of(welcome.getMac());
      if (proof.size() != expected.size() || CRYPTO_memcmp(proof.data(), expected.data(), expected.size()) != 0)
        throw Refused("the peer did not prove that it knows the secret");
    }
    break;
  }
  handshake_ = false;
  timeval patience{SILENT_SECONDS, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void Connection::write(capnp::MessageBuilder& message, std::string_view attachment) {
  auto words = capnp::messageToFlatArray(message);
  auto content = words.asBytes();
  if (content.size() > MAX_MESSAGE_BYTES) throw Error("a message of " + std::to_string(content.size()) + " bytes");
  std::uint32_t header[2] = {static_cast<std::uint32_t>(content.size()), static_cast<std::uint32_t>(attachment.size())};
  if (tls_) {
    std::string frame(reinterpret_cast<const char*>(header), sizeof header);
    frame.append(content.asChars().begin(), content.size()).append(attachment);
    return tls_->write(frame);
  }
  iovec parts[3] = {{header, sizeof header},
                    {content.begin(), content.size()},
                    {const_cast<char*>(attachment.data()), attachment.size()}};
  msghdr all{};
  all.msg_iov = parts;
  all.msg_iovlen = 3;
  while (all.msg_iovlen) {
    ssize_t sent = ::sendmsg(socket_, &all, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw ConnectionLost(std::string("the connection broke: ") + std::strerror(errno));
    auto left = static_cast<std::size_t>(sent);
    while (all.msg_iovlen && left >= all.msg_iov->iov_len) {
      left -= all.msg_iov->iov_len;
      ++all.msg_iov;
      --all.msg_iovlen;
    }
    if (all.msg_iovlen) {
      all.msg_iov->iov_base = static_cast<char*>(all.msg_iov->iov_base) + left;
      all.msg_iov->iov_len -= left;
    }
  }
}

Frame Connection::read() {
  unsigned char bytes[8];
  read_exactly(bytes, sizeof bytes);
  auto header = Header::read(bytes, handshake_);
  Frame frame;
  frame.words = kj::heapArray<capnp::word>(header.message_bytes / 8);
  read_exactly(frame.words.begin(), header.message_bytes);
  frame.attachment.resize(header.attachment_bytes);
  read_exactly(frame.attachment.data(), header.attachment_bytes);
  return frame;
}

void Connection::read_exactly(void* into, std::size_t bytes) {
  auto* place = static_cast<char*>(into);
  while (bytes) {
    ssize_t got = tls_ ? static_cast<ssize_t>(tls_->read(place, bytes)) : ::recv(socket_, place, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) throw ConnectionLost("the peer closed the connection");
    if (got < 0) throw ConnectionLost(std::string("the connection broke: ") + std::strerror(errno));
    place += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

bool Connection::readable(Clock::time_point until) const {
  while (true) {
    if (tls_ && tls_->readable()) return true;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd waited{socket_, POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(std::max<long>(0, left))) <= 0) return false;
    if (!tls_) return true;  // with TLS it may have been a part of a record
  }
}

void Connection::finish() const {
  timeval patience{GOODBYE_SECONDS, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (tls_) tls_->finish();
  ::shutdown(socket_, SHUT_WR);
}

void Connection::shut_down() const { ::shutdown(socket_, SHUT_RDWR); }

}  // namespace scaler::detail
