// Clients that ask as fast as they are answered, until the server is gone or there were so many answers.
//
//   record_load PORT CLIENTS ANSWERS     prints how many there were
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "nervus/client.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int most = std::atoi(argv[3]);
  std::atomic<int> asked = 0, answers = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < std::atoi(argv[2]); ++i)
    clients.emplace_back([&, i] {
      nervus::ClientOptions options;
      options.port = std::atoi(argv[1]);
      options.seed = static_cast<std::uint64_t>(i);
      nervus::Client client(options);
      nervus::Observation look{.state = std::vector<float>(14), .prompt = "client " + std::to_string(i)};
      if (!client.wait_connected(10)) return;
      try {
        for (int turn = 0; asked++ < most; ++turn, ++answers) {
          look.images["cam_high"] = {.width = 192,
                                     .height = 192,
                                     .rgb = std::vector<std::uint8_t>(192 * 192 * 3, static_cast<std::uint8_t>(turn))};
          look.state[0] = static_cast<float>(turn) / 100;
          client.infer(look);
        }
      } catch (const nervus::Error& error) {
        std::fprintf(stderr, "record_load: client %d: %s\n", i, error.what());
      }
    });
  for (std::thread& client : clients) client.join();
  std::printf("%d\n", answers.load());
  return answers > 0 ? 0 : 1;
}
