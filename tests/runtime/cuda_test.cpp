// The reference cases on a CUDA device, where there is one.
#include <doctest/doctest.h>

#include "nervus/error.h"
#include "runtime/engine.h"
#include "runtime/support.h"

using namespace nervus;

namespace {

bool has_cuda() {
  try {
    describe_cuda();
    return true;
  } catch (const Error& error) {
    MESSAGE("skipped: " << std::string(error.what()));
    CHECK(error.kind() == ErrorKind::unsupported);
    return false;
  }
}

}  // namespace

TEST_CASE("every golden case holds on cuda:0, in float32 at every stage, in bf16 by its cosine") {
  if (!has_cuda()) return;
  for (const char* name :
       {"base", "depth", "causal", "gated_batch", "odd_one_view", "joint_four_views", "depth_causal_batch"}) {
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      const std::string directory = test::golden(name);
      const VerifyReport report = verify(directory, directory, {.device = "cuda:0", .precision = precision});
      CHECK(report.stages.size() >= 7);
      for (const StageError& stage : report.stages) {
        CAPTURE(name);
        CAPTURE(stage.stage);
        CAPTURE(stage.error);
        CAPTURE(stage.cosine);
        CHECK(stage.passed);
      }
    }
  }
}
