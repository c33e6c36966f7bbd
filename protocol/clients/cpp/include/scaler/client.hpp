// A client of Scaler: functions by name, arguments and results as values that MessagePack has.
//
//     scaler::Client client("tcp://127.0.0.1:8516");
//     double root = client.submit("math:sqrt", {2.0}).get();
//
// All of it may be used from several threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace scaler {

// null, booleans, numbers, texts, arrays, objects with texts as keys, and bytes (Value::binary).
using Value = nlohmann::json;

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The scheduler cannot be reached, or the object storage.
class ConnectionLost : public Error {
 public:
  using Error::Error;
};

// The peer did not let us in, and said why.
class Refused : public Error {
 public:
  using Error::Error;
};

// The task was cancelled.
class Cancelled : public Error {
 public:
  using Error::Error;
};

// An object is not in the object storage any more.
class ObjectLost : public Error {
 public:
  using Error::Error;
};

// The task ended without a result. `type` is the exception's, "builtins.ValueError", or empty where it did not raise: it crashed
// too often, ran too long, took too much memory, or was not taken; what() tells.
class TaskError : public Error {
 public:
  TaskError(std::string type, const std::string& message, std::string traceback)
      : Error(message), type(std::move(type)), traceback(std::move(traceback)) {}
  std::string type;
  std::string traceback;
};

struct Options {
  std::vector<std::string> capabilities;  // the task runs only on workers that offer all of these
  std::int32_t priority = 0;              // greater goes first
  std::uint32_t retries = 0;              // how often it is run again when it raises
  std::vector<std::string> retry_on;      // only for errors of these types, "builtins.OSError"; any without it
  std::chrono::milliseconds timeout{0};   // it is stopped after this; 0: never
  std::string name;                       // for people; the function's without it
};

// For addresses tls://host:port: paths of files in PEM.
struct TlsOptions {
  std::string ca;           // certificates of those who sign the certificates that are trusted; those of the system without it
  std::string certificate;  // the client's own, where the listener asks for one
  std::string key;          // that of the certificate
  std::string server_name;  // the name in the listener's certificate; the host of the address without it
};

struct ClientOptions {
  std::string secret;  // that of the cluster, if it asks for one; see read_secret()
  std::string name;    // for log lines and monitors
  TlsOptions tls;
  std::chrono::milliseconds timeout{60'000};  // how long a lost scheduler is tried for
};

// The content of a secret file, as Scaler reads it: without white space at its ends. Throws Error.
std::string read_secret(const std::string& path);

namespace detail {
class Session;
struct Task;
struct StoredObject;
}  // namespace detail

// The result of one task.
class Future {
 public:
  // Waits for the end. Throws TaskError, Cancelled, ConnectionLost, ObjectLost.
  Value get() const;
  // Whether the task has ended, after so long at most.
  bool wait_for(std::chrono::milliseconds time) const;
  // Have it stopped, also if it runs. Nothing happens if it has ended.
  void cancel() const;

 private:
  friend class Client;
  Future(std::shared_ptr<detail::Session> session, std::shared_ptr<detail::Task> task);
  std::shared_ptr<detail::Session> session_;
  std::shared_ptr<detail::Task> task_;
};

// A value in the object storage, which tasks take as an argument: it travels once. It is freed with its last copy, so keep one
// until the tasks that take it have ended.
class Object {
 public:
  operator Value() const;  // NOLINT: it stands for the value

 private:
  friend class Client;
  explicit Object(std::shared_ptr<detail::StoredObject> stored);
  std::shared_ptr<detail::StoredObject> stored_;
};

// Calls that take each other's results.
class Graph {
 public:
  // A call of this graph, as an argument of later ones, at any depth.
  class Node {
   public:
    operator Value() const;  // NOLINT

   private:
    friend class Graph;
    friend class Client;
    explicit Node(std::uint32_t index) : index_(index) {}
    std::uint32_t index_;
  };
  Node call(std::string function, Value args, Value kwargs = Value::object(), Options options = {});

 private:
  friend class Client;
  struct Call {
    std::string function;
    Value args, kwargs;
    Options options;
  };
  std::vector<Call> calls_;
};

class Client {
 public:
  // Throws Error for a malformed address, ConnectionLost when nobody answers there in time, Refused.
  explicit Client(const std::string& address, ClientOptions options = {});
  // Leaves: what has not ended is cancelled.
  ~Client();
  Client(Client&&) noexcept = default;
  Client& operator=(Client&&) noexcept = default;

  // Calls `package.module:function` at a worker. `args` is an array.
  Future submit(const std::string& function, Value args, Value kwargs = Value::object(), const Options& options = {});
  // Many calls of one function, each of an entry of `calls`: arrays of arguments. They travel as one.
  std::vector<Future> submit_many(const std::string& function, const std::vector<Value>& calls, const Options& options = {});
  // All calls of a graph; the futures are those of the nodes `wanted`, in this order.
  std::vector<Future> submit(const Graph& graph, const std::vector<Graph::Node>& wanted);

  Object put(const Value& value);
  // How many tasks run at once on the cluster, as the scheduler told last.
  std::uint32_t slots() const;

 private:
  std::shared_ptr<detail::Session> session_;
};

// ---- NumPy arrays

// An array in C order as a value. `dtype` is NumPy's: "<f8", "<i4".
Value array(const void* elements, std::size_t bytes, const std::string& dtype, const std::vector<std::uint64_t>& shape);

// What a value that is an array holds. Throws Error for one that is none.
struct Array {
  explicit Array(const Value& value);
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::vector<std::uint8_t> bytes;

  template <class T>
  std::vector<T> elements() const {
    std::vector<T> found(bytes.size() / sizeof(T));
    std::memcpy(found.data(), bytes.data(), found.size() * sizeof(T));
    return found;
  }
};

inline Value array(const std::vector<double>& elements) {
  return array(elements.data(), elements.size() * sizeof(double), "<f8", {elements.size()});
}

}  // namespace scaler
