#include "quant/calibration.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"

using namespace nervus;

namespace {

const CalibrationSubject subject{
    .digest = "00ff",
    .linears = {"out", "qkv", "up"},
    .sites = {{"vit.block.0.attn.q", "qkv"},
              {"vit.block.0.attn.k", "qkv"},
              {"vit.block.0.up_proj", "up"},
              {"vit.norm", ""}},
};

Calibration parse(const std::string& text) { return parse_calibration(text, "c.json", subject); }

// The document with `from` replaced by `to`, which must occur.
std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

void check_refused(const std::string& text, const std::string& message) {
  const auto [kind, found] = test::error_of([&] { parse(text); });
  CHECK(kind == ErrorKind::checkpoint);
  CHECK(found == message);
}

const std::string own = R"({"version": 1, "format": "range_per_linear", "checkpoint": "00ff", "samples": 8,
  "percentile": 99.9, "linears": {"qkv": 3.5, "out": 448, "up": 1e-3}})";
// The same with what stands before norms.
const std::string with_streams = own.substr(0, own.size() - 1) + R"(, "streams": {"qkv": 70, "up": 0.25}})";

const std::string sites = R"({"version": 1, "format": "max_abs_per_site", "fp8_max": 448.0, "stats": {
  "vit.block.0.attn.q": 2.0, "vit.block.0.attn.k": 3.0, "vit.block.0.mlp.up_proj": 5.0, "vit.norm": 9.0}})";

}  // namespace

TEST_CASE("a calibration is written and read back the same") {
  const test::TemporaryDirectory directory;
  const Calibration calibration = parse(own);
  CHECK(calibration.samples == 8);
  CHECK(calibration.percentile == 99.9);
  CHECK(calibration.ranges == std::map<std::string, float>{{"out", 448.0f}, {"qkv", 3.5f}, {"up", 1e-3f}});
  write_calibration(directory / "c.json", calibration, "00ff");
  const Calibration again = read_calibration(directory / "c.json", subject);
  CHECK(again.ranges == calibration.ranges);
  CHECK(again.samples == 8);
  CHECK(again.percentile == 99.9);
}

TEST_CASE("what stands before norms is written and read back, and may be missing") {
  CHECK(parse(own).streams.empty());
  CHECK(parse(sites).streams.empty());
  const test::TemporaryDirectory directory;
  const Calibration calibration = parse(with_streams);
  CHECK(calibration.ranges == parse(own).ranges);
  CHECK(calibration.streams == std::map<std::string, float>{{"qkv", 70.0f}, {"up", 0.25f}});
  write_calibration(directory / "c.json", calibration, "00ff");
  CHECK(read_calibration(directory / "c.json", subject).streams == calibration.streams);
  check_refused(with(with_streams, "\"up\": 0.25", "\"down\": 1"),
                "c.json: field 'streams.down': the model has no such linear");
  check_refused(with(with_streams, "0.25", "0"),
                "c.json: field 'streams.up': expected a positive finite number, found 0");
  check_refused(with(with_streams, "0.25", "1e300"),
                "c.json: field 'streams.up': expected a positive finite number, found 1e+300");
  check_refused(with(with_streams, "{\"qkv\": 70, \"up\": 0.25}", "[]"),
                "c.json: field 'streams': expected an object, found an array of 0");
}

TEST_CASE("a calibration of another checkpoint, or with wrong numbers, is refused in words") {
  check_refused(
      with(own, "00ff", "00fe"),
      "c.json: field 'checkpoint': expected 00ff, the digest of this checkpoint, found '00fe': it was made for "
      "another one; run `nervus calibrate` for this");
  check_refused(
      with(own, "range_per", "ranges_per"),
      R"(c.json: field 'format': expected "range_per_linear" or "max_abs_per_site", found "ranges_per_linear")");
  check_refused(with(own, ": 1,", ": 2,"), "c.json: field 'version': expected an integer from 1 to 1, found 2");
  check_refused(with(own, ": 8", ": 0"), "c.json: field 'samples': expected a positive integer, found 0");
  check_refused(with(own, "99.9", "100.1"), "c.json: field 'percentile': expected 0 to 100, found 100.1");
  check_refused(with(own, "\"qkv\": 3.5, ", ""), "c.json: expected the range of the linear 'qkv', found none");
  check_refused(with(own, "qkv", "kv"), "c.json: field 'linears.kv': the model has no such linear");
  for (const char* number : {"0", "-1", "1e300", "1e-44", "null", "\"3\""}) {
    const std::string shown = number == std::string("1e300") ? "1e+300" : number;
    check_refused(with(own, "3.5", number),
                  "c.json: field 'linears.qkv': expected a " +
                      std::string(shown == "null" || shown[0] == '"' ? "" : "positive finite ") + "number, found " +
                      shown);
  }
}

TEST_CASE("sites that enter one linear merge by their maximum") {
  const Calibration calibration = parse(sites);
  CHECK(calibration.ranges == std::map<std::string, float>{{"qkv", 3.0f}, {"up", 5.0f}});
  CHECK(parse(with(sites, "mlp.", "")).ranges == calibration.ranges);
  CHECK(parse(with(sites, ", \"vit.norm\": 9.0", "")).ranges == calibration.ranges);
  CHECK(test::error_of([&] { calibration.range_of("out"); }).second ==
        "c.json: expected the range of the linear 'out', found none");
}

TEST_CASE("an unknown or missing site is named") {
  check_refused(with(sites, "attn.k", "attn.v"),
                "c.json: field 'stats.vit.block.0.attn.v': the model has no such site");
  check_refused(with(sites, "\"vit.block.0.attn.k\": 3.0,", ""),
                "c.json: field 'stats.vit.block.0.attn.k': expected a positive finite number, but it is missing");
  check_refused(with(sites, "448.0", "0"), "c.json: field 'fp8_max': expected a positive finite number, found 0");
  check_refused(with(sites, "9.0", "-9.0"),
                "c.json: field 'stats.vit.norm': expected a positive finite number, found -9.0");
}
