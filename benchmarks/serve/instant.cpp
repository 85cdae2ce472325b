// The policy server around a policy that returns at once: what is left is the server. Prints its port, and serves until
// it is killed.
//
//   serve_instant
#include <iostream>

#include "serve/service.h"

namespace {

using namespace nervus;

// Of the size of a two-armed robot's: [50, 14].
class InstantReplica final : public serve::Replica {
 public:
  InstantReplica() {
    info_.family = "instant";
    info_.device = "none";
    info_.steps = {10};
    info_.chunk_steps = 50;
    info_.state_dimensions = info_.action_dimensions = 14;
    info_.cameras = {"cam_high", "cam_left_wrist", "cam_right_wrist"};
    info_.image_side = 224;
    chunk_ = {.steps = 50,
              .dimensions = 14,
              .values = std::vector<float>(700),
              .names = std::vector<std::string>(14, "joint"),
              .units = std::vector<std::string>(14, "rad"),
              .timing = {{"total", 0}}};
  }
  const PolicyInfo& info() const override { return info_; }
  ActionChunk infer(const Observation&, const InferOptions&) override { return chunk_; }

 private:
  PolicyInfo info_;
  ActionChunk chunk_;
};

}  // namespace

int main() {
  try {
    std::vector<std::unique_ptr<serve::Replica>> replicas;
    replicas.push_back(std::make_unique<InstantReplica>());
    serve::ServiceOptions options;
    options.rules.cameras = replicas.front()->info().cameras;
    options.rules.steps = replicas.front()->info().steps;
    serve::Service service(std::move(replicas), options);
    std::cout << "{\"port\": " << service.port() << "}" << std::endl;
    service.run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "serve_instant: " << error.what() << "\n";
    return 1;
  }
}
