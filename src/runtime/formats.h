// The formats of a model's linears: a recipe and a calibration become what a device is told.
#pragma once

#include "models/families.h"
#include "nervus/options.h"
#include "quant/calibration.h"

namespace nervus {

// The checkpoint's linears and what else a calibration of it is checked against.
CalibrationSubject calibration_subject(const Checkpoint& checkpoint, const Family& family,
                                       const ModelDescription& description);

// Of options.precision, .recipe and .calibration; empty unless the precision has one. Where `dry`, no calibration is
// needed and every scale is 1. Throws Error(usage | checkpoint | io); where a calibration is missing, with the command
// that makes one; Error(unsupported) where the device has no products of a format.
Formats formats_for(const Checkpoint& checkpoint, const Family& family, const ModelDescription& description,
                    const LoadOptions& options, const Device& device, bool dry);

}  // namespace nervus
