// Calibration: how large the inputs of a checkpoint's linears are, and the files that say so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nervus {

struct Calibration {
  std::string file;                     // named in errors
  std::int64_t samples = 0;             // observed; 0: not known
  double percentile = 100;              // of |x|; 100: the largest
  std::map<std::string, float> ranges;  // linear -> |x| that its inputs stay within; finite, positive
  // Of linears that read a norm, where it is known: the largest |h * scale| before the rows are normalised.
  std::map<std::string, float> streams;

  // How far beyond that range a linear in e4m3 reads: no precision is lost (14 powers of two have the same), and what
  // other samples have beyond it is not cut off.
  static constexpr float headroom = 4;

  // Throws Error(checkpoint) that names the file and the linear if there is none.
  float range_of(const std::string& linear) const;
};

// What a calibration must be of.
struct CalibrationSubject {
  std::string digest;                // of the checkpoint
  std::vector<std::string> linears;  // of the model
  // Of the format "max_abs_per_site": every known site, and the linear that reads it; "" where none does.
  std::map<std::string, std::string> sites;
};

// Reads one of two formats:
//   {"version": 1, "format": "range_per_linear", "checkpoint": digest, "samples": 8, "percentile": 99.9,
//    "linears": {linear: range}, "streams": {linear: range}}, which must be of this checkpoint and name each of its
//    linears; the streams may be missing, as in files of earlier builds;
//   {"version": 1, "format": "max_abs_per_site", "fp8_max": 448.0, "stats": {site: range}}, which must name each site
//    that a linear reads (where several enter one linear the largest counts) and says nothing of its checkpoint.
// Throws Error(checkpoint) that names file and field, linear or site.
Calibration parse_calibration(std::string_view text, const std::string& file, const CalibrationSubject& subject);
Calibration read_calibration(const std::filesystem::path& path, const CalibrationSubject& subject);

// Writes the first format; a file that was there is replaced. Throws Error(io).
void write_calibration(const std::filesystem::path& path, const Calibration& calibration, const std::string& digest);

}  // namespace nervus
