#include "backends/cuda/attention/choice.h"

#include "backends/cuda/kernels.h"
#include "core/message.h"

namespace nervus::cuda {
namespace {

struct Choice {
  AttentionKernel kernel;
  std::string why;
};

Choice choice_for(Attention wanted, const Tensor& y, const Tensor& q, const KeyValues& cache, const Heads& heads,
                  bool sm90) {
  if (q.tiled) return {AttentionKernel::narrow, "fast, for few rows, between fused kernels"};
  if (wanted == Attention::plain) return {AttentionKernel::plain, "plain, as was asked for"};
  const std::string refusal = attention_tile_refusal(y, q, cache, heads);
  if (refusal.empty() && sm90) return {AttentionKernel::tile_sm90, "fast, by tiles of a warpgroup"};
  if (refusal.empty()) return {AttentionKernel::tile, "fast, by tiles"};
  return {AttentionKernel::plain, "plain: " + refusal};
}

}  // namespace

AttentionKernel AttentionChoice::choose(const Tensor& y, const Tensor& q, const KeyValues& cache, const Heads& heads) {
  const Choice choice = choice_for(wanted_, y, q, cache, heads, sm90_);
  if (choice.kernel == AttentionKernel::plain && wanted_ == Attention::fast) {
    fail(ErrorKind::unsupported, "attention 'fast': ", attention_tile_refusal(y, q, cache, heads),
         ": use --attention auto");
  }
  const Kind kind{heads.query,
                  heads.key_value,
                  heads.size,
                  q.tiled,
                  static_cast<std::int64_t>(q.dtype),
                  static_cast<std::int64_t>(y.dtype)};
  std::string& line = lines_[kind];
  if (line.empty()) {
    line = concat(heads.query, " heads of ", heads.size, " over ", heads.key_value, ", ", name_of(q.dtype),
                  y.dtype == q.dtype ? "" : concat(" to ", name_of(y.dtype)), ": ", choice.why);
  }
  return choice.kernel;
}

std::vector<std::string> AttentionChoice::plan() const {
  std::vector<std::string> lines = {wanted_ == Attention::fast    ? "the fast kernels alone, as was asked for"
                                    : wanted_ == Attention::plain ? "the plain kernel alone, as was asked for"
                                                                  : "the fast kernels where they have the shape"};
  for (const auto& [kind, line] : lines_) lines.push_back(line);
  return lines;
}

}  // namespace nervus::cuda
