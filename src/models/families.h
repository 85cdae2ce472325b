// The families of models that this build knows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace nervus {

// One tensor of a family's weight table.
struct TensorSpec {
  enum class Use {
    required,
    unused,  // belongs to the checkpoint, but no action depends on it: may be absent
  };
  std::string name;
  Shape shape;
  std::string part;  // "vision", "language", "embedding", "expert"
  Use use = Use::required;
};

// What a checkpoint is, from its config and headers.
struct ModelDescription {
  ModelShape shape;
  std::vector<std::string> variants;
  std::map<std::string, std::string> sizes;
  std::vector<TensorSpec> tensors;           // the weight table
  std::vector<std::string> unused_prefixes;  // tensors that begin so are known and unused
  std::map<std::string, std::string> sites;  // of calibrations that others made: CalibrationSubject::sites
};

struct Family {
  std::string name;
  // Whether a config.json (and, if not null, the tensors beside it) is of this family.
  bool (*recognises)(const Fields& config, const Checkpoint* tensors);
  // Sizes from config, completed from the tensors' shapes. Throws Error(checkpoint) on a contradiction.
  ModelDescription (*describe)(const Fields& config, const Checkpoint* tensors);
  // Loads the weights. The tensors were checked against the table.
  std::unique_ptr<Model> (*load)(const Checkpoint& checkpoint, Device& device, const ModelOptions& options);
  // config.json of a preset for synthetic checkpoints; empty if the family has no preset of that name.
  std::string (*preset)(const std::string& name);
  std::vector<std::string> presets;
  // A recipe of formats (quant/recipe.h) as JSON; empty if the family has none of that name. Each precision that has
  // recipes has one of its own name, the default.
  std::string (*recipe)(const std::string& name);
  std::vector<std::string> recipes;
};

const std::vector<Family>& families();

// The family of a checkpoint. Throws Error(checkpoint) that lists the known ones.
const Family& family_of(const Fields& config, const Checkpoint* tensors);

// Compares the checkpoint with the table: one line a fault, "file: tensor 'x': expected [..], found [..]".
std::vector<std::string> missing_tensors(const Checkpoint& checkpoint, const ModelDescription& description);
std::vector<std::string> mismatched_tensors(const Checkpoint& checkpoint, const ModelDescription& description);

}  // namespace nervus
