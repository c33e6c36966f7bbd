#include <iostream>
#include <scaler/client.hpp>

int main(int count, char** arguments) {
  scaler::ClientOptions options;
  if (count > 2) options.secret = scaler::read_secret(arguments[2]);
  scaler::Client client(arguments[1], options);

  std::cout << client.submit("math:sqrt", {2.0}).get() << "\n";

  scaler::Graph graph;
  auto a = graph.call("math:sqrt", {16});
  auto b = graph.call("operator:add", {a, 1});
  std::cout << client.submit(graph, {b})[0].get() << "\n";

  try {
    client.submit("math:sqrt", {-1}).get();
  } catch (const scaler::TaskError& error) {
    std::cout << error.type << ": " << error.what() << "\n";
  }
}
