// Many clients that come, ask one thing and leave, several at a time: leaving ADDRESS SECRET_FILE. Ends when all have left.
#include <iostream>
#include <thread>
#include <vector>

#include "scaler/client.hpp"

int main(int, char** arguments) {
  scaler::ClientOptions options;
  options.secret = scaler::read_secret(arguments[2]);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 100; ++j) scaler::Client(arguments[1], options).submit("operator:add", {1, 2}).get();
    });
  for (auto& thread : threads) thread.join();
  std::cout << "all have left" << std::endl;
}
