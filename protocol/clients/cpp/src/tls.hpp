// TLS over a connected socket.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "scaler/client.hpp"

namespace scaler::detail {

// Reading is for one thread, writing for another one. The socket is whoever made it.
class Tls {
 public:
  // Makes the handshake. `host`: whose name the certificate has to have, unless the options say another one. Throws Error for
  // files that cannot be used, Refused for a certificate that is not trusted, ConnectionLost.
  Tls(int socket, const TlsOptions& options, const std::string& host);

  // SHA-256 of the listener's certificate in DER, to which the proofs of a secret are bound.
  const std::string& channel() const { return channel_; }
  // Waits for something; 0 when the peer has ended.
  std::size_t read(char* into, std::size_t bytes);
  // Whether read() would return at once. Does not wait.
  bool readable();
  void write(std::string_view bytes);
  // Nothing more is written.
  void finish();

 private:
  template <auto Free>
  struct Freed {
    template <class T>
    void operator()(T* pointer) const {
      Free(pointer);
    }
  };

  void trust(const TlsOptions& options, const std::string& name);
  bool receive(int flags);
  void send();
  [[noreturn]] void fail() const;

  const int socket_;
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Freed<SSL_free>> ssl_;
  BIO *incoming_, *outgoing_;  // of ssl_
  std::mutex mutex_;           // of ssl_
  std::string channel_;
};

}  // namespace scaler::detail
