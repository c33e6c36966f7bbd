#include "scaler/client.hpp"

#include <algorithm>

#include "extensions.hpp"
#include "session.hpp"

namespace scaler {
namespace {

using detail::INPUT;

Value input(std::uint32_t index) {
  std::vector<std::uint8_t> bytes(sizeof index);
  std::memcpy(bytes.data(), &index, sizeof index);
  return Value::binary(std::move(bytes), INPUT);
}

// Nodes of a graph in a value become inputs of the task, numbered as `dependencies` has them.
void take_inputs(Value& value, std::vector<std::uint64_t>& dependencies) {
  if (value.is_structured()) {
    for (auto& part : value) take_inputs(part, dependencies);
  } else if (value.is_binary() && value.get_binary().has_subtype() && value.get_binary().subtype() == INPUT) {
    std::uint32_t node;
    std::memcpy(&node, value.get_binary().data(), sizeof node);
    auto place = std::find(dependencies.begin(), dependencies.end(), node) - dependencies.begin();
    if (place == static_cast<std::ptrdiff_t>(dependencies.size())) dependencies.push_back(node);
    value = input(static_cast<std::uint32_t>(place));
  }
}

}  // namespace

Future::Future(std::shared_ptr<detail::Session> session, std::shared_ptr<detail::Task> task)
    : session_(std::move(session)), task_(std::move(task)) {}
Value Future::get() const { return session_->result(*task_); }
bool Future::wait_for(std::chrono::milliseconds time) const { return session_->wait(*task_, detail::Clock::now() + time); }
void Future::cancel() const { session_->cancel(task_); }

Object::Object(std::shared_ptr<detail::StoredObject> stored) : stored_(std::move(stored)) {}
Object::operator Value() const { return stored_->reference(); }

Graph::Node::operator Value() const { return input(index_); }

Graph::Node Graph::call(std::string function, Value args, Value kwargs, Options options) {
  calls_.push_back({std::move(function), std::move(args), std::move(kwargs), std::move(options)});
  return Node(static_cast<std::uint32_t>(calls_.size() - 1));
}

Client::Client(const std::string& address, ClientOptions options)
    : session_(std::make_shared<detail::Session>(address, std::move(options))) {}

Client::~Client() {
  if (session_) session_->leave();
}

Future Client::submit(const std::string& function, Value args, Value kwargs, const Options& options) {
  auto task = session_->task(args, kwargs, options);
  session_->submit(function, {task});
  return {session_, task};
}

std::vector<Future> Client::submit_many(const std::string& function, const std::vector<Value>& calls, const Options& options) {
  std::vector<std::shared_ptr<detail::Task>> tasks;
  std::vector<Future> futures;
  for (const auto& args : calls) {
    tasks.push_back(session_->task(args, Value::object(), options));
    tasks.back()->item = true;
    futures.push_back({session_, tasks.back()});
  }
  if (!tasks.empty()) session_->submit(function, tasks);
  return futures;
}

std::vector<Future> Client::submit(const Graph& graph, const std::vector<Graph::Node>& wanted) {
  std::vector<std::pair<std::string, std::shared_ptr<detail::Task>>> calls;
  for (auto call : graph.calls_) {
    std::vector<std::uint64_t> dependencies;
    take_inputs(call.args, dependencies);
    take_inputs(call.kwargs, dependencies);
    calls.emplace_back(call.function, session_->task(call.args, call.kwargs, call.options));
    calls.back().second->dependencies = std::move(dependencies);
    calls.back().second->wanted = false;
  }
  std::vector<Future> futures;
  for (const auto& node : wanted) {
    calls.at(node.index_).second->wanted = true;
    futures.push_back({session_, calls[node.index_].second});
  }
  if (!futures.empty()) session_->submit(calls, std::make_shared<detail::GraphRun>());
  return futures;
}

Object Client::put(const Value& value) {
  std::string bytes;
  Value::to_msgpack(value, bytes);
  return Object(session_->put(std::move(bytes)));
}

std::uint32_t Client::slots() const { return session_->slots(); }

}  // namespace scaler
