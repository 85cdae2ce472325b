#include "capi/calls.h"

#include <math.h>
#include <string.h>

enum { joints = 14, chunk_values = 50 * 14 };

static nervus_policy* loaded(const moment* moment) {
  const nervus_load_options options = {.size = sizeof options, .precision = "f32", .robot = "aloha"};
  nervus_policy* policy = NULL;
  nervus_policy_load(moment->checkpoint, &options, &policy);
  return policy;
}

static nervus_observation seen(const moment* moment) {
  const nervus_observation observation = {.size = sizeof observation,
                                          .images = moment->images,
                                          .image_count = 3,
                                          .state = moment->state,
                                          .state_count = joints,
                                          .prompt = moment->prompt};
  return observation;
}

/* Whether the code is the expected one, and the message of it has those words. */
static int refused(nervus_code code, nervus_code expected, const char* words) {
  return code == expected && strstr(nervus_error_message(), words) != NULL;
}

broken_promise c_actions(const moment* moment, uint64_t seed, float* actions) {
  const nervus_load_options load = {.size = sizeof load, .robot = "aloha"};
  const nervus_infer_options infer = {.size = sizeof infer, .seed = seed};
  const nervus_observation observation = seen(moment);
  nervus_policy* policy = NULL;
  nervus_actions* answer = NULL;
  nervus_chunk chunk = {.size = sizeof chunk};
  if (nervus_policy_load(moment->checkpoint, &load, &policy) != NERVUS_OK) return nervus_error_message();
  if (nervus_policy_infer(policy, &observation, &infer, &answer) != NERVUS_OK) return nervus_error_message();
  nervus_policy_free(&policy);
  if (nervus_actions_read(answer, &chunk) != NERVUS_OK) return nervus_error_message();
  if (chunk.batch != 1 || chunk.steps != 50 || chunk.dimensions != joints) return "a chunk is [1, 50, 14]";
  memcpy(actions, chunk.values, chunk_values * sizeof(float));
  nervus_actions_free(&answer);
  return NULL;
}

broken_promise c_tensor_actions(const char* checkpoint, const nervus_tensor* tensors, size_t tensor_count,
                                int32_t steps, float* actions, size_t count) {
  const int64_t* images = tensors[0].shape;
  const nervus_load_options load = {.size = sizeof load,
                                    .precision = "f32",
                                    .steps = &steps,
                                    .step_count = 1,
                                    .batch = images[0],
                                    .views = images[1],
                                    .patches = images[2],
                                    .text_tokens = tensors[2].shape[1]};
  nervus_policy* policy = NULL;
  nervus_actions* answer = NULL;
  nervus_chunk chunk = {.size = sizeof chunk};
  if (nervus_policy_load(checkpoint, &load, &policy) != NERVUS_OK) return nervus_error_message();
  if (nervus_policy_infer_tensors(policy, tensors, tensor_count, NULL, &answer) != NERVUS_OK)
    return nervus_error_message();
  if (nervus_actions_read(answer, &chunk) != NERVUS_OK) return nervus_error_message();
  if ((size_t)(chunk.batch * chunk.steps * chunk.dimensions) != count) return "as many actions as expected";
  memcpy(actions, chunk.values, count * sizeof(float));
  nervus_actions_free(&answer);
  nervus_policy_free(&policy);
  return NULL;
}

static void count_progress(int64_t done, int64_t total, const char* what, void* context) {
  int* calls = context;
  if (done >= 0 && done <= total && strlen(what) > 0) ++*calls;
}

static broken_promise described(nervus_policy* policy) {
  nervus_description found = {.size = sizeof found};
  if (nervus_policy_describe(policy, &found) != NERVUS_OK) return nervus_error_message();
  if (strncmp(found.device, "cpu (1 thread", 13) != 0) return "describe names the device";
  if (strlen(found.family) == 0 || strcmp(found.precision, "f32") != 0) return "describe names family and precision";
  if (found.step_count != 2 || found.steps[0] != 3 || found.steps[1] != 5) return "describe lists the steps";
  if (found.joint_count != joints || strcmp(found.joints[0], "left_waist") != 0) return "describe lists the joints";
  if (found.camera_count != 3 || strcmp(found.cameras[0], "cam_high") != 0) return "describe lists the cameras";
  if (found.chunk_steps != 50 || found.state_dimensions != joints || found.action_dimensions != joints)
    return "describe says the shapes";
  if (found.batch != 1 || found.views != 3 || found.patches != 256 || found.text_tokens < 1)
    return "describe says the limits";
  if (found.weight_bytes < 1000000 || found.workspace_bytes < 1000000 || found.device_bytes < found.weight_bytes)
    return "describe says the memory";
  return NULL;
}

static int same(const nervus_chunk* a, const nervus_chunk* b) {
  return memcmp(a->values, b->values, chunk_values * sizeof(float)) == 0;
}

static broken_promise answered(nervus_policy* policy, const moment* moment) {
  static const float zeros[50 * 75];
  const int64_t shape[] = {50, 75};
  const nervus_tensor noise = {.dtype = NERVUS_F32, .rank = 2, .shape = shape, .data = zeros, .bytes = sizeof zeros};
  const nervus_infer_options asked[] = {{.size = sizeof asked[0], .seed = 1},
                                        {.size = sizeof asked[0], .seed = 1, .steps = 3, .keep_prefix = 1},
                                        {.size = sizeof asked[0], .seed = 1, .steps = 5},
                                        {.size = sizeof asked[0], .seed = 2},
                                        {.size = sizeof asked[0], .noise = &noise}};
  enum { answers = sizeof asked / sizeof asked[0] };
  const nervus_observation observation = seen(moment);
  nervus_actions* actions[answers];
  nervus_chunk chunks[answers];
  for (int i = 0; i < answers; ++i) {
    chunks[i].size = sizeof chunks[i];
    if (nervus_policy_infer(policy, &observation, &asked[i], &actions[i]) != NERVUS_OK) return nervus_error_message();
    if (nervus_actions_read(actions[i], &chunks[i]) != NERVUS_OK) return nervus_error_message();
  }
  if (!same(&chunks[0], &chunks[1])) return "a prefix that is kept changes nothing";
  for (int i = 2; i < answers; ++i)
    if (same(&chunks[0], &chunks[i])) return "other steps, seeds and noises give other actions";
  if (strcmp(chunks[0].names[13], "right_gripper") != 0) return "a chunk names its joints";
  if (strcmp(chunks[0].units[0], "rad") != 0) return "a chunk has units";
  int stages = 0;
  for (size_t i = 0; i < chunks[0].stage_count; ++i)
    if (strcmp(chunks[0].stages[i], "denoise") == 0 || strcmp(chunks[0].stages[i], "total") == 0)
      stages += chunks[0].milliseconds[i] > 0;
  if (stages != 2) return "a chunk has the times of its stages";
  for (int i = 0; i < answers; ++i) nervus_actions_free(&actions[i]);
  return NULL;
}

broken_promise c_results(const moment* moment) {
  const int32_t steps[] = {3, 5};
  int calls = 0;
  const nervus_load_options load = {.size = sizeof load,
                                    .device = "cpu",
                                    .precision = "f32",
                                    .robot = "aloha",
                                    .steps = steps,
                                    .step_count = 2,
                                    .threads = 1,
                                    .progress = count_progress,
                                    .context = &calls};
  nervus_policy* policy = NULL;
  if (strlen(nervus_version()) < 5) return "there is a version";
  if (nervus_policy_load(moment->checkpoint, &load, &policy) != NERVUS_OK) return nervus_error_message();
  if (calls < 10) return "loading reports progress";
  broken_promise broken = described(policy);
  if (broken == NULL) broken = answered(policy, moment);
  nervus_policy_free(&policy);
  return broken;
}

broken_promise c_load_errors(const moment* moment) {
  const int32_t steps[] = {0};
  const struct {
    nervus_load_options options;
    nervus_code code;
    const char* words;
  } wrong[] = {
      {{.device = "tpu"}, NERVUS_USAGE, "tpu"},
      {{.precision = "int3"}, NERVUS_USAGE, "precision: expected f32, bf16, f16, fp8 or int8, found 'int3'"},
      {{.precision = "fp8"}, NERVUS_UNSUPPORTED, "no products of f8_e4m3"},
      {{.attention = "sharp"}, NERVUS_USAGE, "sharp"},
      {{.plan = "a.plan"}, NERVUS_UNSUPPORTED, "plan 'a.plan': device 'cpu' has no choices to keep"},
      {{.robot = "r2d2"}, NERVUS_USAGE, "r2d2"},
      {{.robot = "aloha", .normalization = "maybe"}, NERVUS_USAGE, "maybe"},
      {{.robot = "aloha", .norm_stats = "absent.json"}, NERVUS_IO, "absent.json"},
      {{.steps = steps, .step_count = 1}, NERVUS_USAGE, "steps"},
      {{.step_count = 1}, NERVUS_USAGE, "options.steps: expected an array, found NULL"},
      {{.steps = steps, .step_count = SIZE_MAX}, NERVUS_USAGE, "options.steps: expected at most"},
      {{.time_grid = (nervus_time_grid)7}, NERVUS_USAGE, "options.time_grid: expected 0 or 1, found 7"},
      {{.threads = -1}, NERVUS_USAGE, "threads"},
      {{.batch = -1}, NERVUS_USAGE, "batch"},
  };
  nervus_policy* policy = NULL;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    nervus_load_options options = wrong[i].options;
    options.size = sizeof options;
    policy = (nervus_policy*)&options; /* to be overwritten */
    if (!refused(nervus_policy_load(moment->checkpoint, &options, &policy), wrong[i].code, wrong[i].words))
      return wrong[i].words;
    if (policy != NULL) return "an error leaves no policy";
  }
  if (!refused(nervus_policy_load("no/such/checkpoint", NULL, &policy), NERVUS_IO, "no/such/checkpoint"))
    return "a checkpoint that is not there is refused";
  if (!refused(nervus_policy_load(NULL, NULL, &policy), NERVUS_USAGE, "directory: expected a checkpoint's directory"))
    return "a directory that is NULL is refused";
  if (!refused(nervus_policy_load(moment->checkpoint, NULL, NULL), NERVUS_USAGE, "policy: expected the address"))
    return "a result that goes nowhere is refused";
  if (strcmp(nervus_error_name(NERVUS_USAGE), "usage") != 0 || strcmp(nervus_error_name(NERVUS_OK), "ok") != 0 ||
      strcmp(nervus_error_name(NERVUS_INTERNAL), "internal") != 0 || strcmp(nervus_error_name(1), "unknown") != 0)
    return "codes have names";
  return NULL;
}

static broken_promise image_errors(nervus_policy* policy, const moment* moment) {
  const nervus_image good = moment->images[0];
  nervus_image renamed = good, twice[2] = {good, good}, no_camera = good, no_pixels = good, flat = good, thin = good,
               narrow = good;
  renamed.camera = "cam_low";
  no_camera.camera = NULL;
  no_pixels.rgb = NULL;
  flat.height = 0;
  thin.width = -1;
  narrow.row_bytes = 3 * (size_t)good.width - 1;
  const struct {
    const nervus_image* images;
    size_t count;
    nervus_code code;
    const char* words;
  } wrong[] = {
      {NULL, 0, NERVUS_INPUT, "images: expected at least one of cam_high"},
      {NULL, 1, NERVUS_USAGE, "observation.images: expected an array, found NULL"},
      {&renamed, 1, NERVUS_INPUT, "camera 'cam_low': expected one of"},
      {twice, 2, NERVUS_INPUT, "camera 'cam_high': is given twice"},
      {&no_camera, 1, NERVUS_USAGE, "observation.images[0].camera: expected a camera's name, found NULL"},
      {&no_pixels, 1, NERVUS_USAGE, "camera 'cam_high'.rgb: expected an array, found NULL"},
      {&flat, 1, NERVUS_INPUT, "camera 'cam_high': the image is empty"},
      {&thin, 1, NERVUS_INPUT, "camera 'cam_high': the image is empty"},
      {&narrow, 1, NERVUS_USAGE, "camera 'cam_high'.row_bytes: expected"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    nervus_observation observation = seen(moment);
    nervus_actions* actions = (nervus_actions*)&observation;
    observation.images = wrong[i].images;
    observation.image_count = wrong[i].count;
    if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), wrong[i].code, wrong[i].words))
      return wrong[i].words;
    if (actions != NULL) return "an error leaves no actions";
  }
  return NULL;
}

static broken_promise observation_errors(nervus_policy* policy, const moment* moment) {
  nervus_actions* actions = NULL;
  nervus_observation observation = seen(moment);
  float state[joints] = {0};
  observation.state_count = 3;
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_INPUT, "state"))
    return "a state of another length is refused";
  observation.state_count = joints;
  observation.state = NULL;
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_USAGE, "observation.state: expected"))
    return "a state that is NULL is refused";
  state[3] = NAN;
  observation.state = state;
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_INPUT, "left_forearm_roll"))
    return "a state that is not finite is refused";
  observation = seen(moment);
  observation.prompt = NULL;
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_USAGE, "observation.prompt: expected"))
    return "a prompt that is NULL is refused";
  observation.prompt = "\xff";
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_INPUT, "UTF-8"))
    return "a prompt that is not UTF-8 is refused";
  if (!refused(nervus_policy_infer(policy, NULL, NULL, &actions), NERVUS_USAGE, "observation: expected a struct"))
    return "an observation that is NULL is refused";
  return NULL;
}

static broken_promise option_errors(nervus_policy* policy, const moment* moment) {
  static const float zeros[50 * 75];
  const int64_t shape[] = {50, 75}, small[] = {1, 2, 3}, negative[] = {-1, 2}, none[] = {0, 75},
                huge[] = {1, (int64_t)1 << 62}; /* whose bytes are 0 of 2^64 */
  const nervus_tensor noise = {.dtype = NERVUS_F32, .rank = 2, .shape = shape, .data = zeros, .bytes = sizeof zeros};
  nervus_tensor short_noise = noise, small_noise = noise, no_data = noise, no_shape = noise, below_zero = noise,
                no_dtype = noise, nothing = noise, beyond = noise, endless = noise;
  short_noise.bytes -= 4;
  small_noise.rank = 3, small_noise.shape = small, small_noise.bytes = 24;
  no_data.data = NULL;
  no_shape.shape = NULL;
  below_zero.shape = negative;
  no_dtype.dtype = (nervus_dtype)99;
  nothing.shape = none, nothing.bytes = 0;
  beyond.shape = huge, beyond.bytes = 0;
  endless.rank = (size_t)1 << 62;
  const struct {
    nervus_infer_options options;
    nervus_code code;
    const char* words;
  } wrong[] = {
      {{.steps = 999}, NERVUS_USAGE, "999"},
      {{.steps = -1}, NERVUS_USAGE, "-1"},
      {{.keep_prefix = 1}, NERVUS_USAGE, "keep_prefix"},
      {{.noise = &short_noise}, NERVUS_INPUT, "noise: expected 3750 values of f32 [50, 75], found 14996 bytes"},
      {{.noise = &small_noise}, NERVUS_INPUT, "noise"},
      {{.noise = &no_data}, NERVUS_USAGE, "noise.data: expected an array, found NULL"},
      {{.noise = &no_shape}, NERVUS_USAGE, "noise.shape: expected an array, found NULL"},
      {{.noise = &below_zero}, NERVUS_INPUT, "-1"},
      {{.noise = &no_dtype}, NERVUS_USAGE, "noise: expected a dtype from 0 to 5, found 99"},
      {{.noise = &nothing}, NERVUS_INPUT, "noise: expected values, found [0, 75]: leave it NULL"},
      {{.noise = &beyond}, NERVUS_INPUT, "noise: expected 4611686018427387904 values of f32"},
      {{.noise = &endless}, NERVUS_USAGE, "noise.shape: expected at most"},
  };
  const nervus_observation observation = seen(moment);
  nervus_actions* actions = NULL;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    nervus_infer_options options = wrong[i].options;
    options.size = sizeof options;
    if (!refused(nervus_policy_infer(policy, &observation, &options, &actions), wrong[i].code, wrong[i].words))
      return wrong[i].words;
  }
  if (!refused(nervus_policy_infer_tensors(policy, NULL, 0, NULL, &actions), NERVUS_INPUT, "'images'"))
    return "a call without tensors is refused";
  if (!refused(nervus_policy_infer_tensors(policy, NULL, 1, NULL, &actions), NERVUS_USAGE, "tensors: expected"))
    return "tensors that are NULL are refused";
  nervus_tensor twice[] = {noise, noise};
  if (!refused(nervus_policy_infer_tensors(policy, twice, 1, NULL, &actions), NERVUS_USAGE, "tensors[0].name"))
    return "a tensor without a name is refused";
  twice[0].name = twice[1].name = "noise";
  if (!refused(nervus_policy_infer_tensors(policy, twice, 2, NULL, &actions), NERVUS_INPUT, "noise: is given twice"))
    return "a tensor that is given twice is refused";
  return NULL;
}

broken_promise c_infer_errors(const moment* moment) {
  nervus_policy* policy = loaded(moment);
  if (policy == NULL) return nervus_error_message();
  nervus_actions* actions = NULL;
  const nervus_observation observation = seen(moment);
  broken_promise broken = image_errors(policy, moment);
  if (broken == NULL) broken = observation_errors(policy, moment);
  if (broken == NULL) broken = option_errors(policy, moment);
  if (broken == NULL && nervus_policy_infer(policy, &observation, NULL, &actions) != NERVUS_OK)
    broken = "a policy that refused still answers";
  nervus_actions_free(&actions);
  nervus_policy_free(&policy);
  return broken;
}

broken_promise c_other_releases(const moment* moment) {
  struct {
    nervus_load_options options;
    const char* later;
  } load = {.options = {.size = sizeof load}};
  struct {
    nervus_description description;
    const char* later;
  } description = {.description = {.size = sizeof description}, .later = "to be overwritten"};
  nervus_policy* policy = NULL;
  if (nervus_policy_load(moment->checkpoint, &load.options, &policy) != NERVUS_OK)
    return "a later program that asks for nothing new is served";
  if (nervus_policy_describe(policy, &description.description) != NERVUS_OK || description.later != NULL ||
      description.description.size != sizeof description || description.description.chunk_steps != 50)
    return "what a later program knows and the library does not is zero";
  nervus_policy_free(&policy);
  load.later = "new";
  if (!refused(nervus_policy_load(moment->checkpoint, &load.options, &policy), NERVUS_USAGE, "later nervus.h"))
    return "a later program that asks for something new is refused";
  for (size_t size = 0; size < sizeof load.options; size += 8) {
    load.options.size = size;
    if (!refused(nervus_policy_load(moment->checkpoint, &load.options, &policy), NERVUS_USAGE,
                 "options.size: expected"))
      return "a struct without its size is refused";
  }
  load.options.size = (size_t)-1;
  if (!refused(nervus_policy_load(moment->checkpoint, &load.options, &policy), NERVUS_USAGE, "options.size: expected"))
    return "a struct whose size is garbage is refused";
  return NULL;
}

broken_promise c_nothing(const moment* moment) {
  nervus_policy* policy = loaded(moment);
  nervus_actions* actions = NULL;
  const nervus_observation observation = seen(moment);
  nervus_chunk chunk = {.size = sizeof chunk};
  nervus_description description = {.size = sizeof description};
  if (nervus_policy_infer(policy, &observation, NULL, &actions) != NERVUS_OK) return nervus_error_message();
  if (!refused(nervus_policy_infer(policy, &observation, NULL, NULL), NERVUS_USAGE, "actions: expected the address"))
    return "an answer that goes nowhere is refused";
  if (!refused(nervus_policy_describe(policy, NULL), NERVUS_USAGE, "description: expected a struct"))
    return "a description that goes nowhere is refused";
  if (!refused(nervus_actions_read(actions, NULL), NERVUS_USAGE, "chunk: expected a struct"))
    return "a chunk that goes nowhere is refused";
  nervus_policy_free(&policy);
  nervus_policy_free(&policy);
  nervus_policy_free(NULL);
  nervus_actions_free(&actions);
  nervus_actions_free(&actions);
  nervus_actions_free(NULL);
  if (policy != NULL || actions != NULL) return "what is freed is NULL";
  if (!refused(nervus_policy_infer(policy, &observation, NULL, &actions), NERVUS_USAGE, "policy: expected a loaded"))
    return "a policy that is freed is refused";
  if (!refused(nervus_policy_infer_tensors(policy, NULL, 0, NULL, &actions), NERVUS_USAGE, "policy: expected a loaded"))
    return "a policy that is freed is refused with tensors";
  if (!refused(nervus_policy_describe(policy, &description), NERVUS_USAGE, "policy: expected a loaded policy"))
    return "a policy that is freed is not described";
  if (!refused(nervus_actions_read(actions, &chunk), NERVUS_USAGE, "actions: expected the answer of a call"))
    return "actions that are freed are not read";
  return NULL;
}
