/* nervus in C: load a policy, turn observations into chunks of actions.
 *
 *   nervus_policy* policy = NULL;
 *   nervus_load_options options = {.size = sizeof options, .robot = "aloha"};
 *   if (nervus_policy_load("lingbot-vla-4b", &options, &policy) != NERVUS_OK) puts(nervus_error_message());
 *
 * Ownership:
 *   What you pass in stays yours, is read during the call alone, and may be freed afterwards.
 *   A policy and actions are yours to free, by the address of your pointer, which becomes NULL: freeing twice is safe.
 *   What a description or a chunk points to belongs to the policy or actions it was read from, and lives as long.
 *   An error's message belongs to the library and is valid in its thread until the next call there that fails.
 *
 * Structs begin with their size, which the caller sets: a program and a library of different versions understand each
 * other. All other fields may be zero, which stands for the default. Text is UTF-8 that ends in zero. Calls on one
 * policy from several threads wait for each other; several policies run side by side.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What every call answers; the numbers are the exit codes of the command line. */
typedef enum nervus_code {
  NERVUS_OK = 0,
  NERVUS_USAGE = 2,       /* an option or argument is wrong */
  NERVUS_INPUT = 3,       /* an observation, tensor, image, state or prompt is wrong */
  NERVUS_CHECKPOINT = 4,  /* a checkpoint, config, tokenizer or statistics file is wrong */
  NERVUS_UNSUPPORTED = 5, /* this build or machine cannot do what was asked */
  NERVUS_IO = 6,          /* a file cannot be read or written */
  NERVUS_NUMERIC = 7,     /* the model produced a value that is not finite */
  NERVUS_DEVICE = 8,      /* a GPU has no memory left, or failed */
  NERVUS_INTERNAL = 70    /* a broken promise inside nervus: please report */
} nervus_code;

typedef enum nervus_dtype { NERVUS_F32 = 0, NERVUS_F16, NERVUS_BF16, NERVUS_I32, NERVUS_I64, NERVUS_BOOL } nervus_dtype;

typedef enum nervus_time_grid {
  NERVUS_TIMES_EXACT = 0,       /* t = 1 - i / N */
  NERVUS_TIMES_BF16_ACCUMULATED /* the public implementation's on a GPU */
} nervus_time_grid;

typedef struct nervus_policy nervus_policy;   /* a loaded checkpoint */
typedef struct nervus_actions nervus_actions; /* what one call answered */

/* Called by the thread that loads. `done` of `total` bytes; what is being read. */
typedef void (*nervus_progress)(int64_t done, int64_t total, const char* what, void* context);

typedef struct nervus_load_options {
  size_t size;
  const char* device;        /* "cpu" (default), "cuda:0" */
  const char* precision;     /* "bf16" (default), "f32", "f16", "fp8", "int8" */
  const char* recipe;        /* of f16, fp8, int8: "f16", "fp8", "fp8-all", "int8", "int8-all", "mixed" or
                                a .json; default: as the precision */
  const char* calibration;   /* of linears in e4m3: what `nervus calibrate` writes */
  const char* attention;     /* "auto" (default), "fast", "plain" */
  const char* plan;          /* of a GPU: the file that keeps its choices of kernels; default: none */
  const char* robot;         /* whose joints: "aloha", "robotwin"; default: the model's own order and units */
  const char* norm_stats;    /* default: norm_stats.json beside the checkpoint, if a robot is named */
  const char* normalization; /* default: the robot's */
  const int32_t* steps;      /* every count of Euler steps that will be asked for; default: the checkpoint's */
  size_t step_count;
  int32_t threads;                            /* of the CPU; default: all cores that the process may use */
  nervus_time_grid time_grid;                 /* of the Euler steps */
  int64_t batch, views, patches, text_tokens; /* the largest call, of tensors; default: 1 and the checkpoint's own */
  nervus_progress progress;
  void* context; /* handed to `progress` */
} nervus_load_options;

typedef struct nervus_image {
  const char* camera; /* one of the description's cameras */
  const uint8_t* rgb; /* [height, width, 3], 8 bits a channel */
  int32_t width, height;
  size_t row_bytes; /* from one row to the next; default: 3 * width */
} nervus_image;

typedef struct nervus_observation {
  size_t size;
  const nervus_image* images; /* at least one; a camera that is absent counts as a missing view */
  size_t image_count;
  const float* state; /* [state_count], in the robot's order and units (rad, m) */
  size_t state_count;
  const char* prompt; /* the instruction */
} nervus_observation;

typedef struct nervus_tensor {
  const char* name; /* "images", "img_masks", "lang_tokens", "lang_masks", "state", "noise" */
  nervus_dtype dtype;
  size_t rank;
  const int64_t* shape; /* [rank] */
  const void* data;     /* row-major, contiguous */
  size_t bytes;
} nervus_tensor;

typedef struct nervus_infer_options {
  size_t size;
  int32_t steps;              /* one of the loaded counts; default: the first of them */
  int32_t keep_prefix;        /* not 0: images and text are those of the policy's last call */
  uint64_t seed;              /* of the noise, where no noise is given */
  const nervus_tensor* noise; /* f32 [n_action_steps, max_action_dim], perhaps with a batch in front; default: none */
} nervus_infer_options;

typedef struct nervus_description {
  size_t size;
  const char *family, *device, *precision;
  const int32_t* steps;
  size_t step_count;
  const char* const* joints; /* none without a robot */
  size_t joint_count;
  const char* const* cameras;
  size_t camera_count;
  int64_t chunk_steps, state_dimensions, action_dimensions;
  int64_t batch, views, patches, text_tokens;
  int64_t weight_bytes, workspace_bytes, device_bytes;
} nervus_description;

typedef struct nervus_chunk {
  size_t size;
  int64_t batch, steps, dimensions;
  const float* values;        /* [batch, steps, dimensions], row-major, every one finite */
  const char* const* names;   /* [dimensions] */
  const char* const* units;   /* [dimensions], "" where unknown */
  const char* const* stages;  /* [stage_count], in the order of their names: "denoise", ..., "total", "vision" */
  const double* milliseconds; /* [stage_count] */
  size_t stage_count;
} nervus_chunk;

const char* nervus_version(void);        /* "0.1.0" */
const char* nervus_error_message(void);  /* of the last call of this thread that failed; "" if none did */
const char* nervus_error_name(int code); /* "ok", "usage", "input", ...; "unknown" */

/* Loads a checkpoint directory. `options` may be NULL. On an error *policy is NULL. */
nervus_code nervus_policy_load(const char* directory, const nervus_load_options* options, nervus_policy** policy);
nervus_code nervus_policy_describe(const nervus_policy* policy, nervus_description* description);
void nervus_policy_free(nervus_policy** policy);

/* Camera to action, in the robot's order and units. `options` may be NULL. On an error *actions is NULL. */
nervus_code nervus_policy_infer(nervus_policy* policy, const nervus_observation* observation,
                                const nervus_infer_options* options, nervus_actions** actions);
/* The same from the tensors of a call; actions in the model's units, all dimensions, for every row of the batch. */
nervus_code nervus_policy_infer_tensors(nervus_policy* policy, const nervus_tensor* tensors, size_t count,
                                        const nervus_infer_options* options, nervus_actions** actions);
nervus_code nervus_actions_read(const nervus_actions* actions, nervus_chunk* chunk);
void nervus_actions_free(nervus_actions** actions);

#ifdef __cplusplus
}
#endif
