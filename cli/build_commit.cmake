# Writes OUTPUT, a header with the commit of SOURCE: "-dirty" behind it with local changes; outside git FALLBACK, or
# "unknown".
execute_process(COMMAND git --no-optional-locks describe --always --dirty --abbrev=12 --exclude=*
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE failed)
if(failed OR NOT commit)
  set(commit "${FALLBACK}")
endif()
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [=[
#pragma once

namespace nervus::cli {

inline constexpr const char* build_commit = "@commit@";

}  // namespace nervus::cli
]=])
