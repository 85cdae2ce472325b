// A seam for tests, which nothing else uses: calls of CUDA that fail although CUDA did not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nervus::cuda {

// While it lives, of this thread's checked calls whose description begins with `what`, number `after` (from 0) fails:
// an allocation for want of memory, any other as a launch would. There is one at a time.
class InjectedFailure {
 public:
  InjectedFailure(std::string_view what, std::int64_t after);
  InjectedFailure(const InjectedFailure&) = delete;
  InjectedFailure& operator=(const InjectedFailure&) = delete;
  ~InjectedFailure();

  // Calls of that description so far.
  std::int64_t met() const { return met_; }
  bool happened() const { return met_ > after_; }

  // Whether the call of this description is the one.
  bool takes(std::string_view what) { return what.starts_with(what_) && met_++ == after_; }

 private:
  std::string what_;
  std::int64_t after_;
  std::int64_t met_ = 0;
};

}  // namespace nervus::cuda
