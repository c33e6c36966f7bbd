#include "session.hpp"

#include <algorithm>

#include "extensions.hpp"

namespace scaler::detail {
namespace {

constexpr std::chrono::milliseconds BETWEEN_DIALS{200};
constexpr std::chrono::milliseconds A_MOMENT{20};

std::string bytes_of(capnp::Data::Reader data) { return {reinterpret_cast<const char*>(data.begin()), data.size()}; }

std::string text_of(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

template <class T>
std::vector<T> column(capnp::Data::Reader data) {
  if (data.size() % sizeof(T)) throw Error("a column that ends in the middle of an entry");
  std::vector<T> entries(data.size() / sizeof(T));
  std::memcpy(entries.data(), data.begin(), data.size());
  return entries;
}

}  // namespace

Task::~Task() {
  if (status == wire::ResultStatus::STORED) storage->release(result.substr(0, ID_BYTES));
}

// ---- objects

StoredObject::StoredObject(std::shared_ptr<Session> session, std::string content)
    : session(std::move(session)), id(random_bytes(ID_BYTES)), content(std::move(content)) {}

StoredObject::~StoredObject() { session->forget(*this); }

Value StoredObject::reference() const {
  std::vector<std::uint8_t> bytes(id.begin(), id.end());
  std::uint64_t size = content.size();
  auto* begin = reinterpret_cast<const std::uint8_t*>(&size);
  bytes.insert(bytes.end(), begin, begin + sizeof size);
  return Value::binary(std::move(bytes), OBJECT);
}

std::shared_ptr<StoredObject> Session::put(std::string content) {
  auto object = std::make_shared<StoredObject>(shared_from_this(), std::move(content));
  storage_->put(object->id, object->content);
  std::lock_guard guard(mutex_);
  stored_[object->id] = object;
  return object;
}

void Session::forget(const StoredObject& object) {
  {
    std::lock_guard guard(mutex_);
    stored_.erase(object.id);
    if (leaving_) return;
  }
  storage_->release(object.id);
}

void Session::restore(capnp::Data::Reader objects) {
  auto message = std::make_shared<capnp::MallocMessageBuilder>();
  auto restored = message->initRoot<wire::ClientToScheduler>().initRestored();
  auto names = bytes_of(objects);
  restored.setObjects(objects);
  auto failures = restored.initFailures(static_cast<unsigned>(names.size() / ID_BYTES));
  for (unsigned i = 0; i < failures.size(); ++i) {
    std::shared_ptr<StoredObject> object;
    {
      std::lock_guard guard(mutex_);
      auto found = stored_.find(names.substr(i * ID_BYTES, ID_BYTES));
      if (found != stored_.end()) object = found->second.lock();
    }
    try {
      if (!object) throw Error("the client has freed it");
      storage_->put(object->id, object->content);
    } catch (const std::exception& error) {
      failures.set(i, error.what());
    }
  }
  due_.push_back(message);
}

// ---- the connection

Session::Session(std::string address, ClientOptions options)
    : address_(std::move(address)), options_(std::move(options)), identity_(random_bytes(ID_BYTES)) {
  for (auto until = Clock::now() + options_.timeout;;) {
    try {
      connect();
      break;
    } catch (const ConnectionLost&) {
      if (Clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(BETWEEN_DIALS);
  }
  thread_ = std::thread([this] { run(); });
}

Session::~Session() { leave(); }

void Session::connect() {
  auto connection = std::make_shared<Connection>(address_, wire::Role::CLIENT, identity_, options_);
  Frame frame = connection->read();
  capnp::FlatArrayMessageReader reader(frame.words, frame.limits());
  auto message = reader.getRoot<wire::SchedulerToClient>();
  if (!message.isSettings()) throw Error("the scheduler did not begin with its settings");
  auto settings = message.getSettings();
  std::lock_guard guard(mutex_);
  if (leaving_) throw Error("the client has left");
  inline_limit_ = settings.getInlineLimitBytes();
  heartbeat_ = std::chrono::milliseconds(settings.getHeartbeatMilliseconds());
  silence_ = std::chrono::milliseconds(settings.getTimeoutMilliseconds());
  slots_ = settings.getSlots();
  if (!storage_)
    storage_ = std::make_shared<Storage>(text_of(settings.getObjectStorageAddress()), identity_, options_);
  connection_ = connection;
  scheduler_ = connection->identity();
}

void Session::run() {
  while (true) {
    std::string reason;
    try {
      read_until_lost();
    } catch (const std::exception& error) {  // also of kj, for what is no message
      reason = error.what();
    }
    {
      std::lock_guard guard(mutex_);
      if (connection_) connection_->shut_down();  // whoever writes is told
      connection_.reset();
      if (leaving_) break;
    }
    if (offering_.joinable()) offering_.join();
    if (!lost_.empty() || !connect_again(reason)) break;
  }
  if (offering_.joinable()) offering_.join();
}

bool Session::connect_again(const std::string& reason) {
  std::string before = scheduler_, error = reason;
  for (auto until = Clock::now() + options_.timeout; Clock::now() < until;) {
    try {
      connect();
      offering_ = std::thread([this, connection = connection_, other = scheduler_ != before] { offer_again(connection, other); });
      return true;
    } catch (const Refused& refused) {
      error = refused.what();
      break;
    } catch (const std::exception& failed) {
      error = failed.what();
    }
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, BETWEEN_DIALS, [this] { return leaving_; })) return false;
  }
  give_up("the connection to " + address_ + " is lost: " + error);
  return false;
}

// Its own thread: what the scheduler says meanwhile has to be read.
void Session::offer_again(const std::shared_ptr<Connection>& connection, bool to_another) {
  std::lock_guard saying(saying_);
  std::map<std::uint64_t, std::shared_ptr<Task>> offered, dropped;
  std::vector<std::uint64_t> cancelled;
  std::vector<std::uint32_t> all;
  std::uint32_t slots;
  {
    std::lock_guard guard(mutex_);
    if (connection_ != connection) return;
    for (const auto& [sequence, task] : unfinished_) (task->done && task->graph.expired() ? dropped : offered)[sequence] = task;
    for (const auto& [sequence, task] : dropped) unfinished_.erase(sequence);
    for (const auto& graph : graphs_)
      for (const auto& task : graph->tasks) {
        task->wanted = unfinished_.contains(task->sequence);
        offered[task->sequence] = task;
        if (task->status == wire::ResultStatus::CANCELLED) cancelled.push_back(task->sequence);
      }
    for (std::uint32_t number = 0; number < functions_.size(); ++number) all.push_back(number);
    slots = slots_;
  }
  auto message = std::make_shared<capnp::MallocMessageBuilder>();
  if (to_another) {
    message->initRoot<wire::ClientToScheduler>().initResuming().setSlots(slots);
    say(message);
  }
  say_definitions(all);
  Tasks single, items;
  auto send_items = [&] {
    if (!items.empty()) say_array(items);
    items.clear();
  };
  for (const auto& [sequence, task] : offered) {
    if (!task->item) {
      single.push_back(task);
      continue;
    }
    if (!items.empty() && (items.back()->sequence + 1 != sequence || items.back()->function != task->function)) send_items();
    items.push_back(task);
  }
  send_items();
  if (!single.empty()) say_tasks(single);
  if (!cancelled.empty()) {
    message->initRoot<wire::ClientToScheduler>().initCancel().setSequences(
        {reinterpret_cast<const kj::byte*>(cancelled.data()), cancelled.size() * sizeof cancelled[0]});
    say(message);
  }
  if (to_another) {
    message->initRoot<wire::ClientToScheduler>().initAllOffered();
    say(message);
  }
}

void Session::give_up(const std::string& reason) {
  decltype(unfinished_) tasks;  // let go without the mutex, which those who are let go may take
  decltype(graphs_) graphs;
  std::lock_guard guard(mutex_);
  if (lost_.empty()) lost_ = reason;
  unfinished_.swap(tasks);
  graphs_.swap(graphs);
  changed_.notify_all();
}

void Session::read_until_lost() {
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard guard(mutex_);
    connection = connection_;
  }
  heard_ = next_heartbeat_ = Clock::now();
  due_.clear();
  while (connection) {
    say_what_is_due();
    if (connection->readable(due_.empty() ? next_heartbeat_ : Clock::now() + A_MOMENT)) {
      Frame frame = connection->read();
      heard_ = Clock::now();
      capnp::FlatArrayMessageReader reader(frame.words, frame.limits());
      receive(reader.getRoot<wire::SchedulerToClient>());
    } else if (Clock::now() - heard_ > silence_) {
      throw ConnectionLost("the scheduler is silent");
    }
    std::lock_guard guard(mutex_);
    if (!lost_.empty()) return;
  }
}

// Never waits for who writes: that one may wait for us to read.
void Session::say_what_is_due() {
  auto now = Clock::now();
  if (now >= next_heartbeat_) {
    auto message = std::make_shared<capnp::MallocMessageBuilder>();
    auto time = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
    message->initRoot<wire::ClientToScheduler>().initHeartbeat().setSentMicroseconds(static_cast<std::uint64_t>(time));
    due_.push_back(message);
    next_heartbeat_ = now + heartbeat_;
  }
  std::unique_lock saying(saying_, std::try_to_lock);
  while (saying && !due_.empty()) {
    say(due_.front());
    due_.pop_front();
  }
}

// ---- what the scheduler says

void Session::receive(wire::SchedulerToClient::Reader message) {
  switch (message.which()) {
    case wire::SchedulerToClient::RESULTS:
      return ended(message.getResults());
    case wire::SchedulerToClient::HEARTBEAT: {
      std::lock_guard guard(mutex_);
      slots_ = message.getHeartbeat().getSlots();
      return;
    }
    case wire::SchedulerToClient::RESTORE:
      return restore(message.getRestore().getObjects());
    case wire::SchedulerToClient::ENDING:
      return give_up("the scheduler at " + address_ + " ended: " + text_of(message.getEnding().getText()));
    case wire::SchedulerToClient::OUTPUT:
    case wire::SchedulerToClient::EXPLANATION:
    case wire::SchedulerToClient::SHUTDOWN_REFUSED:
      return;  // not asked for
    default:
      throw Error("the scheduler says something that this client does not know");
  }
}

void Session::ended(wire::Results::Reader results) {
  auto sequences = column<std::uint64_t>(results.getTasks());
  auto statuses = column<std::uint8_t>(results.getStatuses());
  auto counts = column<std::uint32_t>(results.getCounts());
  auto payloads = results.getPayloads();
  auto item_ends = results.getItemEnds();
  std::size_t entries = sequences.size();
  if (statuses.size() != entries || payloads.size() != entries || (!counts.empty() && counts.size() != entries) ||
      (item_ends.size() && item_ends.size() != entries))
    throw Error("results whose columns differ in length");
  for (unsigned i = 0; i < entries; ++i) {
    auto payload = bytes_of(payloads[i]);
    auto status = static_cast<wire::ResultStatus>(statuses[i]);
    auto ends = item_ends.size() ? column<std::uint32_t>(item_ends[i]) : std::vector<std::uint32_t>();
    std::uint32_t count = counts.empty() ? 1 : counts[i], begin = 0;
    for (std::uint32_t item = 0; item < count; ++item) {
      std::uint32_t last = ends.empty() ? static_cast<std::uint32_t>(payload.size()) : ends.at(item);
      if (last < begin || last > payload.size()) throw Error("items of results that do not fit their payload");
      end(sequences[i] + item, status, payload.substr(begin, last - begin));
      if (!ends.empty()) begin = last;
    }
  }
}

void Session::end(std::uint64_t sequence, wire::ResultStatus status, std::string result) {
  std::shared_ptr<Task> task;
  std::shared_ptr<GraphRun> graph;
  {
    std::lock_guard guard(mutex_);
    auto found = unfinished_.find(sequence);
    if (found == unfinished_.end()) return;  // a second result for a sequence is ignored
    task = found->second;
    unfinished_.erase(found);
    graph = task->graph.lock();
    if (graph && --graph->left == 0) graphs_.erase(graph);
    if (!task->done) {
      task->status = status;
      task->result = std::move(result);
      task->done = true;
      status = wire::ResultStatus::UNSPECIFIED;
    }
    changed_.notify_all();
  }
  if (status == wire::ResultStatus::STORED) storage_->release(result.substr(0, ID_BYTES));  // it had been cancelled
  // The arguments of a graph are needed until all of it has ended.
  if (!graph) task->arguments.reset();
}

void Session::leave() {
  {
    std::lock_guard guard(mutex_);
    if (leaving_) return;
  }
  {
    decltype(unfinished_) tasks;
    decltype(graphs_) graphs;
    std::lock_guard saying(saying_);
    std::shared_ptr<Connection> connection;
    {
      std::lock_guard guard(mutex_);
      leaving_ = true;  // before the goodbye: the scheduler answers it by closing, which is no reason to connect again
      connection = connection_;
    }
    auto message = std::make_shared<capnp::MallocMessageBuilder>();
    message->initRoot<wire::ClientToScheduler>().initGoodbye();
    say(message);
    if (connection) connection->finish();
    std::lock_guard guard(mutex_);
    unfinished_.swap(tasks);
    graphs_.swap(graphs);
    changed_.notify_all();
  }
  storage_->close();
  if (thread_.joinable()) thread_.join();
}

// ---- what this client says; under saying_

void Session::say(const Builder& message) {
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard guard(mutex_);
    connection = connection_;
  }
  try {
    if (connection) connection->write(*message);  // else it is said when there is one again
  } catch (const ConnectionLost&) {
    connection->shut_down();  // the reading thread connects again
  }
}

}  // namespace scaler::detail
