// Work that several threads share.
#pragma once

#include <cstdint>
#include <functional>

namespace nervus {

// work(i) for each i below `count`, on up to `threads` threads, of which this is one. Rethrows what the least i threw,
// after all are done.
void for_each_index(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work);

}  // namespace nervus
