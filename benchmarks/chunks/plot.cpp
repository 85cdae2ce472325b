#include "chunks/plot.h"

#include <algorithm>
#include <cstdio>

namespace nervus::bench {
namespace {

constexpr double width = 900, panel = 150, left = 60, top = 40;
constexpr double from_seconds = 20, until_seconds = 25;
constexpr std::size_t joint = 3;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f", value);
  return text;
}

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" " + style + "/>\n";
}

std::string text(double x, double y, const std::string& words, const char* style) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + style + ">" + words + "</text>\n";
}

struct Range {
  double low = 1e9, high = -1e9;
};

// Of all panels, so that they compare.
Range range_of(const Scene& scene, const std::vector<Played>& played) {
  Range range;
  for (const Played& one : played)
    for (std::size_t i = 0; i < one.commands.size(); ++i) {
      const double seconds = static_cast<double>(i) / scene.rate;
      if (seconds < from_seconds || seconds > until_seconds) continue;
      range.low = std::min<double>(range.low, one.commands[i][joint]);
      range.high = std::max<double>(range.high, one.commands[i][joint]);
    }
  return range;
}

std::string panel_of(const Scene& scene, const Way& way, const Played& played, const Range& range, double y0) {
  const auto x = [](double seconds) {
    return left + (seconds - from_seconds) / (until_seconds - from_seconds) * (width - left - 20);
  };
  const auto y = [&](double value) { return y0 + (panel - 40) * (1 - (value - range.low) / (range.high - range.low)); };
  std::string out = text(left, y0 - 8, way.name + ": " + way.text, "font-weight=\"bold\"");
  std::string points;
  for (std::size_t i = 0; i < played.commands.size(); ++i) {
    const double seconds = static_cast<double>(i) / scene.rate;
    if (seconds < from_seconds || seconds > until_seconds) continue;
    if (std::binary_search(played.boundaries.begin(), played.boundaries.end(), i))
      out += line(x(seconds), y0, x(seconds), y0 + panel - 40, "stroke=\"#cbd5e1\" stroke-dasharray=\"3 3\"");
    points += number(x(seconds)) + "," + number(y(played.commands[i][joint])) + " ";
  }
  out += "<polyline fill=\"none\" stroke=\"#2563eb\" stroke-width=\"1.6\" points=\"" + points + "\"/>\n";
  out += text(left - 6, y(range.high) + 4, number(range.high), "text-anchor=\"end\" fill=\"#64748b\"");
  out += text(left - 6, y(range.low) + 4, number(range.low), "text-anchor=\"end\" fill=\"#64748b\"");
  return out;
}

}  // namespace

std::string to_svg(const Scene& scene, const std::vector<Way>& ways, const std::vector<Played>& played) {
  const double height = top + panel * static_cast<double>(ways.size()) + 10;
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " " + number(height) +
      "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  const Range range = range_of(scene, played);
  double y0 = top;
  for (std::size_t i = 0; i < ways.size(); ++i, y0 += panel) out += panel_of(scene, ways[i], played[i], range, y0);
  out += text(left, height - 10,
              "one joint in radians over " + number(until_seconds - from_seconds) +
                  " s; dashed: the first command of another chunk",
              "fill=\"#64748b\"");
  return out + "</svg>\n";
}

}  // namespace nervus::bench
