// What a Client does below its face: one connection, a thread that reads it, and what has not ended.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include "client.capnp.h"
#include "connection.hpp"
#include "scaler/client.hpp"
#include "storage.hpp"
#include "task.capnp.h"

namespace scaler::detail {

// A payload that is in the object storage, kept to put it there again, and freed with its last user.
struct StoredObject {
  StoredObject(std::shared_ptr<Session> session, std::string content);
  ~StoredObject();
  std::shared_ptr<Session> session;
  std::string id, content;
  // What stands for it in arguments.
  Value reference() const;
};

struct GraphRun;

struct Task {
  ~Task();  // frees a stored result that nobody has fetched
  std::shared_ptr<Storage> storage;
  std::uint64_t sequence = 0;
  std::uint32_t function = 0;
  std::string payload;
  Options options;
  std::vector<std::uint64_t> dependencies;
  bool wanted = true;
  bool item = false;  // of an array
  std::shared_ptr<StoredObject> arguments;
  std::weak_ptr<GraphRun> graph;

  // How it ended; under the mutex of the session.
  bool done = false;
  wire::ResultStatus status = wire::ResultStatus::UNSPECIFIED;
  std::string result;
};

// Tasks that depend on each other: all of them are offered again as long as one is wanted.
struct GraphRun {
  std::vector<std::shared_ptr<Task>> tasks;
  std::size_t left = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::string address, ClientOptions options);
  ~Session();

  // Sends calls of functions by name. With `array`, as one task array.
  void submit(const std::string& function, const std::vector<std::shared_ptr<Task>>& tasks);
  void submit(const std::vector<std::pair<std::string, std::shared_ptr<Task>>>& calls, std::shared_ptr<GraphRun> graph);
  // A task for these arguments; what is too large for a message is stored.
  std::shared_ptr<Task> task(const Value& args, const Value& kwargs, const Options& options);
  std::shared_ptr<StoredObject> put(std::string content);
  void forget(const StoredObject& object);

  bool wait(const Task& task, Clock::time_point until);
  Value result(Task& task);
  void cancel(const std::shared_ptr<Task>& task);
  void leave();
  std::uint32_t slots();

 private:
  using Tasks = std::vector<std::shared_ptr<Task>>;
  using Builder = std::shared_ptr<capnp::MallocMessageBuilder>;

  void connect();
  void run();
  void read_until_lost();
  bool connect_again(const std::string& reason);
  void offer_again(const std::shared_ptr<Connection>& connection, bool to_another);
  void give_up(const std::string& reason);

  void receive(wire::SchedulerToClient::Reader message);
  void ended(wire::Results::Reader results);
  void end(std::uint64_t sequence, wire::ResultStatus status, std::string result);
  void restore(capnp::Data::Reader objects);
  void say_what_is_due();

  std::uint32_t number_of(const std::string& function, std::vector<std::uint32_t>& undefined);
  void say(const Builder& message);
  void say_definitions(const std::vector<std::uint32_t>& numbers);
  void say_tasks(const Tasks& tasks);
  void say_array(const Tasks& tasks);

  const std::string address_;
  const ClientOptions options_;
  const std::string identity_;

  std::mutex saying_;  // taken before mutex_: who submits writes in the order of the sequences
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Connection> connection_;  // null while there is none
  std::string scheduler_;                   // its identity
  std::shared_ptr<Storage> storage_;
  std::uint64_t inline_limit_ = 0, next_sequence_ = 0;
  std::chrono::milliseconds heartbeat_{2000}, silence_{60'000};
  std::uint32_t slots_ = 0;
  std::vector<std::string> functions_;  // by number
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::map<std::uint64_t, std::shared_ptr<Task>> unfinished_;
  std::set<std::shared_ptr<GraphRun>> graphs_;
  std::map<std::string, std::weak_ptr<StoredObject>> stored_;
  std::string lost_;  // why there is no connection any more
  bool leaving_ = false;

  // The reading thread's own.
  Clock::time_point next_heartbeat_, heard_;
  std::deque<Builder> due_;
  std::thread offering_, thread_;
};

}  // namespace scaler::detail
