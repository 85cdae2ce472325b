#include "models/families.h"

#include "core/message.h"
#include "models/lingbot/lingbot.h"

namespace nervus {

const std::vector<Family>& families() {
  static const std::vector<Family> all = {lingbot::family()};
  return all;
}

const Family& family_of(const Fields& config, const Checkpoint* tensors) {
  for (const Family& family : families()) {
    if (family.recognises(config, tensors)) return family;
  }
  fail(ErrorKind::checkpoint, config.file(),
       ": no known model family; expected one of: ", joined(families(), &Family::name),
       " (the field 'type' and the tensors' names tell)");
}

std::vector<std::string> missing_tensors(const Checkpoint& checkpoint, const ModelDescription& description) {
  std::vector<std::string> faults;
  for (const TensorSpec& spec : description.tensors) {
    if (spec.use != TensorSpec::Use::required || checkpoint.find(spec.name) != nullptr) continue;
    faults.push_back(checkpoint.source(spec.name) + ": expected " + to_string(spec.shape) + ", found no such tensor");
  }
  return faults;
}

std::vector<std::string> mismatched_tensors(const Checkpoint& checkpoint, const ModelDescription& description) {
  std::vector<std::string> faults;
  for (const TensorSpec& spec : description.tensors) {
    const TensorInfo* tensor = checkpoint.find(spec.name);
    if (tensor == nullptr) continue;
    if (tensor->shape != spec.shape) {
      faults.push_back(concat(checkpoint.source(spec.name), ": expected ", to_string(spec.shape), ", found ",
                              to_string(tensor->shape)));
    } else if (tensor->dtype != DType::f32 && tensor->dtype != DType::f16 && tensor->dtype != DType::bf16) {
      faults.push_back(checkpoint.source(spec.name) + ": expected f32, f16 or bf16, found " + name_of(tensor->dtype));
    }
  }
  return faults;
}

}  // namespace nervus
