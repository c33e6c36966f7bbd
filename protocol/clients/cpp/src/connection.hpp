// Frames over a socket, and the handshake.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "handshake.capnp.h"
#include "tls.hpp"

namespace scaler::detail {

constexpr std::uint64_t MAX_MESSAGE_BYTES = 64 << 20;
constexpr std::uint64_t MAX_HANDSHAKE_BYTES = 64 << 10;
constexpr std::uint64_t MAX_ATTACHMENT_BYTES = 1 << 20;

using Clock = std::chrono::steady_clock;

// So many random bytes.
std::string random_bytes(std::size_t count);

// What travels: the header of README.md, a message, an attachment.
struct Frame {
  kj::Array<capnp::word> words;
  std::string attachment;

  // Limits of README.md: 2 bytes read for each received, at least 8 KiB; 16 levels.
  capnp::ReaderOptions limits() const {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = std::max<std::uint64_t>(1024, 2 * words.size());
    options.nestingLimit = 16;
    return options;
  }
};

// The eight bytes before a message. Throws Error for lengths that may not be.
struct Header {
  std::uint32_t message_bytes, attachment_bytes;
  static Header read(const unsigned char bytes[8], bool handshake);
};

// HMACs of the handshake. `more` is what Welcome.mac goes over besides, and the channel of TLS.
std::string mac(std::string_view secret, std::string_view who, wire::Hello::Reader hello, std::string_view nonce,
                std::string_view more = {});

// A connected socket. Reading is for one thread, writing for another; shut_down() for any.
class Connection {
 public:
  // Dials "tcp://host:port", "tls://host:port" or "ipc://path" and makes the handshake. Throws ConnectionLost, Refused, Error.
  Connection(const std::string& address, wire::Role role, const std::string& identity, const ClientOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void write(capnp::MessageBuilder& message, std::string_view attachment = {});
  // The next frame. Throws ConnectionLost when the peer is gone, Error for what breaks a rule.
  Frame read();
  // Whether there is something to read, or the peer is gone, at this time at the latest.
  bool readable(Clock::time_point until) const;
  void shut_down() const;
  // Nothing more is written; the peer closes when it has read all.
  void finish() const;
  // The listener's.
  const std::string& identity() const { return listener_; }

 private:
  // Returns the host, for an address that has one.
  std::string dial(const std::string& address);
  void shake_hands(wire::Role role, const std::string& identity, const std::string& name, const std::string& secret);
  void read_exactly(void* into, std::size_t bytes);

  int socket_ = -1;
  std::unique_ptr<Tls> tls_;
  bool handshake_ = true;
  std::string listener_;
};

}  // namespace scaler::detail
