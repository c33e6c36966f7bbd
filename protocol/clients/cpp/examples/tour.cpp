// Everything that the client can do, on a running cluster: tour ADDRESS [SECRET_FILE [break]]. Exit code 0 if all came out right.
// For tls:// addresses the environment names files: SCALER_TLS_CA, and SCALER_TLS_CERTIFICATE and SCALER_TLS_KEY if they are asked for.
#include <cstdlib>
#include <iostream>
#include <numeric>

#include "scaler/client.hpp"

namespace {

void expect(bool true_, const char* what) {
  std::cout << (true_ ? "good: " : "WRONG: ") << what << std::endl;
  if (!true_) std::exit(1);
}

template <class Thrown, class Work>
Thrown thrown_by(Work work) {
  try {
    work();
  } catch (const Thrown& error) {
    return error;
  }
  std::cout << "WRONG: nothing was thrown" << std::endl;
  std::exit(1);
}

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

int main(int count, char** arguments) {
  scaler::ClientOptions options;
  options.name = "tour";
  options.tls.ca = from_environment("SCALER_TLS_CA");
  options.tls.certificate = from_environment("SCALER_TLS_CERTIFICATE");
  options.tls.key = from_environment("SCALER_TLS_KEY");
  if (count > 2) options.secret = scaler::read_secret(arguments[2]);
  scaler::Client client(arguments[1], options);

  // One call, and one with arguments by keyword.
  expect(client.submit("math:sqrt", {2.25}).get() == 1.5, "a call");
  expect(client.submit("builtins:sorted", {{3, 1, 2}}, {{"reverse", true}}).get() == scaler::Value({3, 2, 1}), "keywords");
  auto joined = client.submit("operator:add", {scaler::Value::binary({0, 255}), scaler::Value::binary({7})}).get();
  expect(joined == scaler::Value::binary({0, 255, 7}), "bytes");

  // Many calls of one function.
  std::vector<scaler::Value> calls;
  for (int i = 0; i < 1000; ++i) calls.push_back({i, 2});
  auto squares = client.submit_many("math:pow", calls);
  double sum = 0;
  for (auto& square : squares) sum += square.get().get<double>();
  expect(sum == 332833500, "a thousand calls");

  // A graph: calls that take results of others, at any depth of their arguments.
  scaler::Graph graph;
  auto a = graph.call("operator:add", {1, 2});
  auto b = graph.call("operator:mul", {a, 10});
  auto c = graph.call("builtins:sum", {{a, b, 100}});
  auto found = client.submit(graph, {c, a});
  expect(found[0].get() == 133 && found[1].get() == 3, "a graph");

  // Large values travel through the object storage; one that many calls take, once.
  std::vector<double> numbers(500'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  scaler::Array doubled(client.submit("numpy:add", {scaler::array(numbers), scaler::array(numbers)}).get());
  expect(doubled.dtype == "<f8" && doubled.shape == std::vector<std::uint64_t>{500'000}, "a large array");
  expect(doubled.elements<double>().back() == 999'998, "its elements");
  auto object = client.put(scaler::array(numbers));
  expect(client.submit("builtins:len", {object}).get() == 500'000, "an object");
  expect(client.submit("numpy:max", {object}).get() == 499'999, "the object again");

  // Errors have the name of their type, their text, and the traceback.
  auto error = thrown_by<scaler::TaskError>([&] { client.submit("math:sqrt", {-1}).get(); });
  expect(error.type == "builtins.ValueError" && error.what() == std::string("math domain error"), "an error");
  expect(error.traceback.find("ValueError") != std::string::npos, "its traceback");
  error = thrown_by<scaler::TaskError>([&] { client.submit("math:nothing", {1}).get(); });
  expect(error.type == "scaler.errors.FunctionNotFoundError", "a function that is not there");
  error = thrown_by<scaler::TaskError>([&] { client.submit("builtins:set", {{1, 2}}).get(); });
  expect(error.type == "scaler.errors.SerializationError", "a result that cannot be written");

  // Options, and cancel.
  scaler::Options nowhere;
  nowhere.capabilities = {"nobody has this"};
  auto never = client.submit("math:sqrt", {1}, scaler::Value::object(), nowhere);
  expect(!never.wait_for(std::chrono::milliseconds(1)), "a task that cannot run");
  never.cancel();
  thrown_by<scaler::Cancelled>([&] { never.get(); });
  auto endless = client.submit("time:sleep", {600});
  expect(!endless.wait_for(std::chrono::milliseconds(500)), "a task that runs for long");
  endless.cancel();
  thrown_by<scaler::Cancelled>([&] { endless.get(); });
  scaler::Options short_;
  short_.timeout = std::chrono::milliseconds(200);
  error = thrown_by<scaler::TaskError>([&] { client.submit("time:sleep", {60}, scaler::Value::object(), short_).get(); });
  expect(error.type.empty() && std::string(error.what()).find("limit is 0.200 s") != std::string::npos, "a task that runs too long");

  if (count > 3) {
    // What the object storage loses is put there again: say "lose" on the standard output, and wait for a line.
    std::string line;
    auto lost = client.put(scaler::array(numbers));
    std::cout << "lose" << std::endl;
    std::getline(std::cin, line);
    expect(client.submit("numpy:max", {lost}).get() == 499'999, "an object that was lost");
    // What is under way when the connection breaks goes on.
    auto slow = client.submit("time:sleep", {1});
    std::cout << "break" << std::endl;
    std::getline(std::cin, line);
    slow.get();
    expect(client.submit("math:sqrt", {4}).get() == 2, "a call after the connection broke");
  }
  std::cout << "done" << std::endl;
}
