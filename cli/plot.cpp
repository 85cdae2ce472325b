#include "cli/plot.h"

#include <CLI/StringTools.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

namespace nervus::cli {
namespace {

constexpr double page_width = 1160;
constexpr double margin = 36;
constexpr std::array palette = {"#2563eb", "#ea580c", "#059669", "#7c3aed", "#db2777", "#0891b2"};
constexpr std::array dashes = {"5 3", "1.5 2.5", "8 3 1.5 3"};

// Dimensions that share a heading and a colour.
struct Group {
  std::string label;
  std::vector<std::size_t> dimensions;
  std::string colour;

  std::size_t count() const { return dimensions.size(); }
};

// Sizes in pixels. Compact for many dimensions: ticks at the outer panels only.
struct Layout {
  std::size_t columns = 4;
  bool compact = false;
  double label_width = 44;
  double plot_height = 112;
  double title_height = 24;
  double tick_height = 30;

  double panel_width() const { return (page_width - 2 * margin) / static_cast<double>(columns); }
  double panel_height() const { return title_height + plot_height + tick_height; }
};

struct Axis {
  double low = 0;
  double high = 1;
  double step = 1;  // between ticks
};

std::string fixed(double value, int decimals) {
  const std::string text = formatted("%.*f", decimals, value);
  return text.find_first_of("123456789") == std::string::npos && text[0] == '-' ? text.substr(1) : text;
}

std::string px(double value) { return fixed(value, 1); }

std::string escaped(const std::string& text) {
  std::string out = one_line(text);
  for (const auto& [letter, entity] : {std::pair{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}})
    out = CLI::detail::find_and_replace(out, letter, entity);
  return out;
}

// `form` with the values in place of its '@', one after the other.
std::string filled(const std::string& form, std::initializer_list<std::string> values) {
  std::string out;
  auto value = values.begin();
  for (const char c : form) out += c == '@' ? *value++ : std::string(1, c);
  return out;
}

std::string words(double x, double y, const std::string& style, const std::string& text) {
  return filled("<text x=\"@\" y=\"@\" class=\"@\">@</text>\n", {px(x), px(y), style, escaped(text)});
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return filled("<line x1=\"@\" y1=\"@\" x2=\"@\" y2=\"@\" class=\"@\"/>\n", {px(x1), px(y1), px(x2), px(y2), style});
}

std::string dot(double x, double y, const std::string& colour) {
  return filled("<circle cx=\"@\" cy=\"@\" r=\"3.6\" fill=\"#ffffff\" stroke=\"@\" stroke-width=\"1.8\"/>\n",
                {px(x), px(y), colour});
}

// The first result in its group's colour; others thin, dark and dashed behind it.
std::string stroke(const std::string& colour, std::size_t result) {
  if (result == 0) return "stroke=\"" + colour + "\" stroke-width=\"1.8\"";
  return "stroke=\"#0f172a\" stroke-width=\"1.2\" stroke-dasharray=\"" +
         std::string(dashes[(result - 1) % dashes.size()]) + "\"";
}

// The least step of 1, 2 or 5 times a power of ten that makes at most `ticks` intervals.
double tick_step(double range, int ticks) {
  const double rough = range / ticks;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

Axis axis_of(double low, double high, int ticks) {
  const double least = std::max(1e-3, 1e-3 * std::max(std::abs(low), std::abs(high)));
  const double pad = high - low < least ? least : 0.08 * (high - low);
  return {low - pad, high + pad, tick_step(high - low + 2 * pad, ticks)};
}

std::vector<double> ticks_of(const Axis& axis) {
  std::vector<double> ticks;
  for (double i = std::ceil(axis.low / axis.step - 1e-9); i * axis.step <= axis.high + 1e-9 * axis.step; ++i)
    ticks.push_back(i * axis.step);
  return ticks;
}

int decimals_of(const Axis& axis) { return std::max(0, static_cast<int>(-std::floor(std::log10(axis.step) + 1e-9))); }

// Groups by the first word of the names ("left", "right") if that makes two to six of at least two; otherwise one.
std::vector<Group> groups_of(const ActionChunk& chunk) {
  Group all{"", {}, palette[0]};
  std::vector<Group> groups;
  for (std::size_t d = 0; d < chunk.names.size(); ++d) {
    const std::string& name = chunk.names[d];
    const std::string key = name.substr(0, name.find('_') == std::string::npos ? 0 : name.find('_'));
    all.dimensions.push_back(d);
    auto group = std::ranges::find(groups, key, &Group::label);
    if (group == groups.end()) group = groups.insert(groups.end(), {key, {}, palette[groups.size() % palette.size()]});
    group->dimensions.push_back(d);
  }
  const bool good = groups.size() > 1 && groups.size() <= palette.size() &&
                    std::ranges::all_of(groups, [](const Group& g) { return !g.label.empty() && g.count() > 1; });
  return good ? groups : std::vector{all};
}

class Picture {
 public:
  explicit Picture(const Plot& plot) : plot_(plot), chunk_(plot.results.front().chunk), groups_(groups_of(chunk_)) {
    const std::size_t most = std::ranges::max(groups_ | std::views::transform(&Group::count));
    if (most > 24) layout_ = {10, true, 30, 62, 17, 8};
    else layout_.columns = std::clamp<std::size_t>(most, 2, 4);
    has_units_ = std::ranges::any_of(chunk_.units, [](const std::string& unit) { return !unit.empty(); });
    shared_ = range_of(0, static_cast<std::size_t>(chunk_.dimensions));
    steps_ = {0, std::max(1.0, static_cast<double>(chunk_.steps - 1)), 0};
    steps_.step = std::max(1.0, tick_step(steps_.high, layout_.compact ? 3 : 5));
  }

  std::string draw() {
    double y = 96;
    std::string body;
    for (const Group& group : groups_) {
      if (!group.label.empty()) {
        std::string label = group.label;
        label[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(label[0])));
        body += filled("<rect x=\"@\" y=\"@\" width=\"4\" height=\"16\" rx=\"2\" fill=\"@\"/>\n",
                       {px(margin), px(y - 10), group.colour}) +
                words(margin + 12, y + 3, "group", label);
        y += 16;
      }
      for (std::size_t i = 0; i < group.count(); ++i) {
        const auto row = static_cast<double>(i / layout_.columns);
        const auto column = static_cast<double>(i % layout_.columns);
        const bool lowest = i + layout_.columns >= group.count();
        body += panel(group, group.dimensions[i], margin + column * layout_.panel_width(),
                      y + row * layout_.panel_height(), i % layout_.columns == 0, lowest);
      }
      const std::size_t rows = (group.count() + layout_.columns - 1) / layout_.columns;
      y += static_cast<double>(rows) * layout_.panel_height() + 18;
    }
    y += 14;
    body += words(page_width / 2, y, "caption",
                  has_units_ ? "step of the chunk" : "step of the chunk; values in the model's normalised units");
    return head(y + 24) + body + "</svg>\n";
  }

 private:
  // Over dimensions first .. last - 1 of all results, and the state.
  Axis range_of(std::size_t first, std::size_t last) const {
    double low = INFINITY, high = -INFINITY;
    const auto see = [&](double value) {
      low = std::min(low, value);
      high = std::max(high, value);
    };
    for (const Result& result : plot_.results)
      for (std::int64_t s = 0; s < result.chunk.steps; ++s)
        for (std::size_t d = first; d < last; ++d) see(value(result, s, d));
    for (std::size_t d = first; d < std::min(last, plot_.state.size()); ++d) see(plot_.state[d]);
    return low <= high ? axis_of(low, high, layout_.compact ? 5 : 4) : Axis{};
  }

  static double value(const Result& result, std::int64_t step, std::size_t dimension) {
    return result.chunk.values[static_cast<std::size_t>(step * result.chunk.dimensions) + dimension];
  }

  std::string head(double height) const {
    std::string out = filled(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 @ @\" width=\"@\" height=\"@\""
        " font-family=\"Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\">\n"
        "<style>.title{font-size:20px;font-weight:600;fill:#0f172a}.subtitle{font-size:12.5px;fill:#64748b}"
        ".group{font-size:14px;font-weight:600;fill:#0f172a}.name{font-size:12px;font-weight:500;fill:#1e293b}"
        ".unit{fill:#94a3b8;font-weight:400}.small{font-size:10px;fill:#475569}"
        ".ytick{font-size:9.5px;fill:#94a3b8;text-anchor:end}.xtick{font-size:9.5px;fill:#94a3b8;"
        "text-anchor:middle}.caption{font-size:11px;fill:#64748b;text-anchor:middle}"
        ".legend{font-size:12px;fill:#334155}.grid{stroke:#e8edf3;stroke-width:1}"
        ".zero{stroke:#c3cdd9;stroke-width:1}.curve{fill:none;stroke-linejoin:round;"
        "stroke-linecap:round}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        {px(page_width), px(height), px(page_width), px(height)});
    return out + words(margin, 42, "title", plot_.title) + words(margin, 63, "subtitle", plot_.subtitle) + legend();
  }

  // At the top right: the results where there are several, and the state's dot.
  std::string legend() const {
    std::string out;
    double x = page_width - margin;
    if (!plot_.state.empty()) {
      x -= 78;
      out += dot(x, 38, "#475569") + words(x + 10, 42, "legend", "state now");
      x -= 22;
    }
    for (std::size_t i = plot_.results.size() > 1 ? plot_.results.size() : 0; i-- > 0;) {
      x -= 138;
      out += "<path d=\"M" + px(x) + " 38h28\" class=\"curve\" " + stroke("#475569", i) + "/>\n" +
             words(x + 36, 42, "legend", std::to_string(plot_.results[i].steps) + " Euler steps");
    }
    return out;
  }

  std::string panel(const Group& group, std::size_t d, double x, double y, bool leftmost, bool lowest) const {
    const Axis axis = has_units_ ? range_of(d, d + 1) : shared_;
    const double left = x + layout_.label_width, right = x + layout_.panel_width() - (layout_.compact ? 2 : 14);
    const double top = y + layout_.title_height, bottom = top + layout_.plot_height;
    const auto at_x = [&](double step) { return left + (right - left) * step / steps_.high; };
    const auto at_y = [&](double v) { return bottom - (bottom - top) * (v - axis.low) / (axis.high - axis.low); };
    std::string out = "<g>\n<title>" + escaped(dimension_name(chunk_, d)) + "</title>\n" + heading(group, d, left, top);
    for (const double tick : ticks_of(axis)) {
      out += line(left, at_y(tick), right, at_y(tick), std::abs(tick) < 1e-9 * axis.step ? "zero" : "grid");
      if (leftmost || !layout_.compact)
        out += words(left - 6, at_y(tick) + 3.2, "ytick", fixed(tick, decimals_of(axis)));
    }
    for (const double tick : ticks_of(steps_)) {
      out += line(at_x(tick), top, at_x(tick), bottom, "grid");
      if (lowest || !layout_.compact) out += words(at_x(tick), bottom + 13, "xtick", fixed(tick, 0));
    }
    for (std::size_t i = plot_.results.size(); i-- > 0;) {
      std::string path;
      for (std::int64_t s = 0; s < plot_.results[i].chunk.steps; ++s)
        path += (s == 0 ? "M" : "L") + fixed(at_x(static_cast<double>(s)), 2) + " " +
                fixed(at_y(value(plot_.results[i], s, d)), 2);
      out += "<path d=\"" + path + "\" class=\"curve\" " + stroke(group.colour, i) + "/>\n";
    }
    if (d < plot_.state.size()) out += dot(at_x(0), at_y(plot_.state[d]), group.colour);
    return out + "</g>\n";
  }

  std::string heading(const Group& group, std::size_t d, double left, double top) const {
    std::string name = chunk_.names[d];
    if (layout_.compact) return words(left, top - 5, "small", name);
    if (!group.label.empty()) name = name.substr(group.label.size() + 1);
    std::replace(name.begin(), name.end(), '_', ' ');
    const std::string unit = escaped(chunk_.units[d]);
    return filled("<text x=\"@\" y=\"@\" class=\"name\">@@</text>\n",
                  {px(left), px(top - 8), escaped(name),
                   unit.empty() ? "" : "<tspan class=\"unit\" dx=\"6\">" + unit + "</tspan>"});
  }

  const Plot& plot_;
  const ActionChunk& chunk_;
  std::vector<Group> groups_;
  Layout layout_;
  bool has_units_ = false;
  Axis shared_;
  Axis steps_;
};

}  // namespace

std::string to_svg(const Plot& plot) { return Picture(plot).draw(); }

}  // namespace nervus::cli
