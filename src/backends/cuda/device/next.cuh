// When a kernel lets the one after it begin.
#pragma once

namespace nervus::cuda {

// Once what this one reads is there; once all its blocks have done what can be done before that; once they have begun.
// Sooner where what comes next has more to prepare (weights to fetch) than this one takes, but its blocks must find
// places beside those of this kernel and the one before.
enum class Next { behind_the_wait, before_the_wait, at_once };

}  // namespace nervus::cuda
