// From calls to the messages `define`, `submit`, `submitArray` and `cancel`, and from results to values.
#include <algorithm>

#include "extensions.hpp"
#include "session.hpp"

namespace scaler::detail {
namespace {

constexpr std::size_t MESSAGE_BYTES = 4 << 20, MESSAGE_TASKS = 10'000;  // messages become no larger than this

template <class T>
capnp::Data::Reader column_of(const std::vector<T>& entries) {
  return {reinterpret_cast<const kj::byte*>(entries.data()), entries.size() * sizeof(T)};
}

capnp::Data::Reader data_of(const std::string& bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}

template <class List>
void set_texts(List list, const std::vector<std::string>& texts) {
  for (unsigned i = 0; i < texts.size(); ++i) list.set(i, texts[i]);
}

void set_options(wire::TaskOptions::Builder set, const Options& options) {
  set_texts(set.initCapabilities(static_cast<unsigned>(options.capabilities.size())), options.capabilities);
  set_texts(set.initRetryOn(static_cast<unsigned>(options.retry_on.size())), options.retry_on);
  set.setPriority(options.priority);
  set.setRetries(options.retries);
  set.setTimeoutMilliseconds(static_cast<std::uint64_t>(options.timeout.count()));
  set.setName(options.name);
}

std::string packed(const Value& value) {
  std::string bytes;
  Value::to_msgpack(value, bytes);
  return bytes;
}

}  // namespace

std::shared_ptr<Task> Session::task(const Value& args, const Value& kwargs, const Options& options) {
  if (!args.is_array() || !kwargs.is_object()) throw Error("arguments are an array, those by keyword an object");
  auto task = std::make_shared<Task>();
  task->options = options;
  task->storage = storage_;
  task->payload = packed(Value::array({args, kwargs}));
  if (task->payload.size() > inline_limit_) {
    task->arguments = put(std::move(task->payload));
    task->payload = packed(task->arguments->reference());
  }
  return task;
}

std::uint32_t Session::number_of(const std::string& function, std::vector<std::uint32_t>& undefined) {
  auto [place, is_new] = numbers_.try_emplace(function, static_cast<std::uint32_t>(functions_.size()));
  if (is_new) {
    undefined.push_back(place->second);
    functions_.push_back(function);
  }
  return place->second;
}

void Session::submit(const std::string& function, const Tasks& tasks) {
  std::lock_guard saying(saying_);
  std::vector<std::uint32_t> undefined;
  {
    std::lock_guard guard(mutex_);
    if (!lost_.empty()) throw ConnectionLost(lost_);
    auto number = number_of(function, undefined);
    for (const auto& task : tasks) {
      task->function = number;
      task->sequence = next_sequence_++;
      unfinished_[task->sequence] = task;
    }
  }
  say_definitions(undefined);
  if (tasks.front()->item)
    say_array(tasks);
  else
    say_tasks(tasks);
}

void Session::submit(const std::vector<std::pair<std::string, std::shared_ptr<Task>>>& calls, std::shared_ptr<GraphRun> graph) {
  std::lock_guard saying(saying_);
  std::vector<std::uint32_t> undefined;
  {
    std::lock_guard guard(mutex_);
    if (!lost_.empty()) throw ConnectionLost(lost_);
    auto first = next_sequence_;
    for (const auto& [function, task] : calls) {
      task->function = number_of(function, undefined);
      task->sequence = next_sequence_++;
      task->graph = graph;
      for (auto& dependency : task->dependencies) dependency += first;
      if (task->wanted) unfinished_[task->sequence] = task;
      graph->left += task->wanted;
      graph->tasks.push_back(task);
    }
    graphs_.insert(graph);
  }
  say_definitions(undefined);
  say_tasks(graph->tasks);
}

void Session::say_definitions(const std::vector<std::uint32_t>& numbers) {
  if (numbers.empty()) return;
  auto message = std::make_shared<capnp::MallocMessageBuilder>();
  auto functions = message->initRoot<wire::ClientToScheduler>().initDefine().initFunctions(static_cast<unsigned>(numbers.size()));
  for (unsigned i = 0; i < numbers.size(); ++i) {
    const auto& path = functions_[numbers[i]];
    functions[i].setNumber(numbers[i]);
    functions[i].setSerializer("msgpack");
    functions[i].setContent(data_of(path));
    functions[i].setName(path);
  }
  say(message);
}

void Session::say_tasks(const Tasks& tasks) {
  for (std::size_t begin = 0, end = 0; begin < tasks.size(); begin = end) {
    for (std::size_t bytes = 0; end < tasks.size() && end - begin < MESSAGE_TASKS && bytes < MESSAGE_BYTES; ++end)
      bytes += tasks[end]->payload.size();
    auto count = static_cast<unsigned>(end - begin);
    std::vector<std::uint64_t> sequences, dependencies;
    std::vector<std::uint32_t> functions, options, ends;
    std::vector<std::uint8_t> wanted;
    auto message = std::make_shared<capnp::MallocMessageBuilder>();
    auto submit = message->initRoot<wire::ClientToScheduler>().initSubmit();
    auto payloads = submit.initPayloads(count);
    auto sets = submit.initOptionSets(count);
    for (unsigned i = 0; i < count; ++i) {
      const auto& task = *tasks[begin + i];
      sequences.push_back(task.sequence);
      functions.push_back(task.function);
      options.push_back(i);
      wanted.push_back(task.wanted);
      dependencies.insert(dependencies.end(), task.dependencies.begin(), task.dependencies.end());
      ends.push_back(static_cast<std::uint32_t>(dependencies.size()));
      payloads.set(i, data_of(task.payload));
      set_options(sets[i], task.options);
    }
    submit.setSequences(column_of(sequences));
    submit.setFunctions(column_of(functions));
    submit.setOptions(column_of(options));
    submit.setWanted(column_of(wanted));
    if (!dependencies.empty()) {
      submit.setDependencyEnds(column_of(ends));
      submit.setDependencies(column_of(dependencies));
    }
    submit.setMore(end < tasks.size());
    say(message);
  }
}

void Session::say_array(const Tasks& tasks) {
  for (std::size_t begin = 0, end = 0; begin < tasks.size(); begin = end) {
    std::string items;
    std::vector<std::uint32_t> ends;
    for (; end < tasks.size() && items.size() < MESSAGE_BYTES; ++end) {
      items += tasks[end]->payload;
      ends.push_back(static_cast<std::uint32_t>(items.size()));
    }
    auto message = std::make_shared<capnp::MallocMessageBuilder>();
    auto array = message->initRoot<wire::ClientToScheduler>().initSubmitArray();
    array.setFirstSequence(tasks[begin]->sequence);
    array.setFunction(tasks[begin]->function);
    array.setItems(data_of(items));
    array.setItemEnds(column_of(ends));
    set_options(array.initOptions(), tasks[begin]->options);
    say(message);
  }
}

// ---- how they end

bool Session::wait(const Task& task, Clock::time_point until) {
  std::unique_lock lock(mutex_);
  auto over = [&] { return task.done || !lost_.empty() || leaving_; };
  if (until == Clock::time_point::max()) {
    changed_.wait(lock, over);
    return true;
  }
  return changed_.wait_until(lock, until, over);
}

Value Session::result(Task& task) {
  wait(task, Clock::time_point::max());
  std::unique_lock lock(mutex_);
  if (!task.done && !lost_.empty()) throw ConnectionLost(lost_);
  if (!task.done) throw Cancelled("the client has left");
  if (task.status == wire::ResultStatus::STORED) {
    auto id = task.result.substr(0, ID_BYTES);
    lock.unlock();
    auto content = storage_->get(id);
    storage_->release(id);
    lock.lock();
    task.status = wire::ResultStatus::SUCCEEDED;
    task.result = std::move(content);
  }
  auto status = task.status;
  auto result = task.result;
  lock.unlock();
  switch (status) {
    case wire::ResultStatus::SUCCEEDED:
      return Value::from_msgpack(result);
    case wire::ResultStatus::CANCELLED:
      throw Cancelled("the task was cancelled");
    case wire::ResultStatus::OBJECT_LOST:
      throw ObjectLost(result);
    case wire::ResultStatus::FAILED: {
      auto words = kj::heapArray<capnp::word>(result.size() / sizeof(capnp::word));
      std::memcpy(words.begin(), result.data(), words.asBytes().size());
      capnp::FlatArrayMessageReader reader(words);
      auto failure = reader.getRoot<wire::Failure>();
      auto text = [](capnp::Text::Reader told) { return std::string(told.begin(), told.size()); };
      throw TaskError(text(failure.getTypeName()), text(failure.getMessage()), text(failure.getTraceback()));
    }
    default:
      throw TaskError("", result, "");
  }
}

void Session::cancel(const std::shared_ptr<Task>& task) {
  std::lock_guard saying(saying_);
  {
    std::lock_guard guard(mutex_);
    if (task->done || !unfinished_.contains(task->sequence)) return;
    task->done = true;
    task->status = wire::ResultStatus::CANCELLED;
    changed_.notify_all();
  }
  auto message = std::make_shared<capnp::MallocMessageBuilder>();
  message->initRoot<wire::ClientToScheduler>().initCancel().setSequences(column_of(std::vector{task->sequence}));
  say(message);
}

std::uint32_t Session::slots() {
  std::lock_guard guard(mutex_);
  return slots_;
}

}  // namespace scaler::detail
