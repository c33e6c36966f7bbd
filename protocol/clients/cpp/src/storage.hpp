// Blocking use of the object storage.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "connection.hpp"

namespace scaler::detail {

constexpr std::size_t ID_BYTES = 16;

// One request at a time, from any thread. A connection that is lost is made again, once for each request.
class Storage {
 public:
  Storage(std::string address, std::string owner, ClientOptions options)
      : address_(std::move(address)), owner_(std::move(owner)), options_(std::move(options)) {}

  // Throws ConnectionLost, Error.
  void put(const std::string& id, std::string_view content);
  // Of an object that was there. Throws ConnectionLost, ObjectLost, Error.
  std::string get(const std::string& id);
  // What we own there no longer. Throws nothing: what cannot be said now ends with this client.
  void release(const std::string& id) noexcept;
  // The owner has left, and with it all that it had. Who waits for an answer hears ConnectionLost.
  void close();

 private:
  template <class Work>
  auto with_connection(Work work);

  std::string address_, owner_;
  ClientOptions options_;
  std::mutex mutex_;
  std::mutex leaving_;  // of the next two where they change; taken after mutex_
  std::unique_ptr<Connection> connection_;
  bool closed_ = false;
  std::uint64_t request_ = 0;
};

}  // namespace scaler::detail
