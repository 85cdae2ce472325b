/* Programs in C that use include/nervus/nervus.h. Each returns NULL, or the first of its promises that did not hold. */
#pragma once

#include "nervus/nervus.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef const char* broken_promise;

/* What the caller has: a checkpoint with a tokenizer and statistics of the robot aloha, and one moment of it. */
typedef struct moment {
  const char* checkpoint;
  nervus_image images[3];
  float state[14];
  const char* prompt;
} moment;

/* Loads in bf16, infers with the seed, copies 50 x 14 actions, and frees. */
broken_promise c_actions(const moment* moment, uint64_t seed, float* actions);
/* The same from tensors of a golden: copies `count` actions of `steps` Euler steps in float32. */
broken_promise c_tensor_actions(const char* checkpoint, const nervus_tensor* tensors, size_t tensor_count,
                                int32_t steps, float* actions, size_t count);
/* Names, units, timings, description, progress, two programs' seeds and noises. */
broken_promise c_results(const moment* moment);
/* Every way to be refused at load, and what an error leaves behind. */
broken_promise c_load_errors(const moment* moment);
/* Every way to be refused by a call. */
broken_promise c_infer_errors(const moment* moment);
/* Sizes of structs as other releases would give them. */
broken_promise c_other_releases(const moment* moment);
/* Freeing twice, freeing nothing, asking nothing. */
broken_promise c_nothing(const moment* moment);

#ifdef __cplusplus
}
#endif
