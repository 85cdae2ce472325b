/* Loads a policy, shows it one grey moment, and prints the first action that it would take. */
#include <nervus/nervus.h>
#include <stdio.h>
#include <string.h>

enum { width = 640, height = 480, cameras_most = 8 };

static int failed(nervus_code code) {
  fprintf(stderr, "first_action: %s\n", nervus_error_message());
  return code;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: first_action CHECKPOINT\n");
    return NERVUS_USAGE;
  }
  const nervus_load_options options = {.size = sizeof options, .robot = "aloha"};
  nervus_policy* policy = NULL;
  nervus_description about = {.size = sizeof about};
  nervus_code code = nervus_policy_load(argv[1], &options, &policy);
  if (code == NERVUS_OK) code = nervus_policy_describe(policy, &about);
  if (code != NERVUS_OK) return failed(code);

  static uint8_t grey[height * width * 3];
  static float state[64];
  nervus_image images[cameras_most];
  memset(grey, 128, sizeof grey);
  nervus_observation observation = {.size = sizeof observation,
                                    .images = images,
                                    .state = state,
                                    .state_count = (size_t)about.state_dimensions,
                                    .prompt = "Pick up the red cube."};
  for (size_t i = 0; i < about.camera_count && i < cameras_most; ++i)
    images[observation.image_count++] =
        (nervus_image){.camera = about.cameras[i], .rgb = grey, .width = width, .height = height};

  const nervus_infer_options infer = {.size = sizeof infer, .seed = 1};
  nervus_actions* actions = NULL;
  nervus_chunk chunk = {.size = sizeof chunk};
  code = nervus_policy_infer(policy, &observation, &infer, &actions);
  if (code == NERVUS_OK) code = nervus_actions_read(actions, &chunk);
  if (code != NERVUS_OK) failed(code);
  for (int64_t joint = 0; joint < chunk.dimensions; ++joint)
    printf("%-24s %9.4f %s\n", chunk.names[joint], chunk.values[joint], chunk.units[joint]);

  nervus_actions_free(&actions);
  nervus_policy_free(&policy);
  return code;
}
