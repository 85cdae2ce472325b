// nervus replay and serve --record, as far as no server is needed.
#include <doctest/doctest.h>

#include "cli/program.h"

using nervus::test::Outcome;
using nervus::test::program;
using nervus::test::scratch;
using nervus::test::write_file;

namespace {

void check_wrong(const std::string& arguments, int code, const std::string& message) {
  CAPTURE(arguments);
  const Outcome outcome = program(arguments);
  CHECK(outcome.code == code);
  CHECK(outcome.err == "nervus: error: " + message + "\n");
  CHECK(outcome.out.empty());
}

}  // namespace

TEST_CASE("replay: files that are no recordings, and wrong options") {
  write_file(scratch() / "empty.record", "");
  write_file(scratch() / "later.record", "nervus-record 2\n");
  write_file(scratch() / "begun.record", "nervus-record 1\n");
  write_file(scratch() / "cut.record", "nervus-record 1\n\x05");
  write_file(scratch() / "wrong.record", "nervus-record 1\nabcdefghijklmnop");
  const std::string another = ": expected a recording of 'nervus serve --record', found another file";
  check_wrong("replay empty.record --checkpoint tiny", 3, "empty.record" + another);
  check_wrong("replay later.record --checkpoint tiny", 3, "later.record" + another);
  check_wrong("replay tiny/config.json --checkpoint tiny", 3, "tiny/config.json" + another);
  check_wrong("replay begun.record --checkpoint tiny", 3, "begun.record: holds no whole record: it is empty");
  check_wrong("replay cut.record --checkpoint tiny", 3,
              "cut.record: holds no whole record: byte 16: the last record is cut short");
  check_wrong("replay wrong.record --checkpoint tiny", 3,
              "wrong.record: holds no whole record: byte 16: a header's checksum is wrong");
  check_wrong("replay none.record --checkpoint tiny", 6, "none.record: cannot be opened: No such file or directory");
  check_wrong("replay --checkpoint tiny", 2, "FILE is required (see 'nervus replay --help')");
  check_wrong("replay empty.record", 2, "--checkpoint is required (see 'nervus replay --help')");
  check_wrong("replay empty.record --checkpoint tiny --precision f31", 2,
              "--precision: expected f32, bf16, f16, fp8 or int8, found 'f31': did you mean 'f32'? (see 'nervus replay "
              "--help')");
  check_wrong("replay empty.record --checkpoint tiny --tolerance -1", 2,
              "--tolerance: expected a difference of actions, 0 or more");
  const Outcome json = program("replay empty.record --checkpoint tiny --json");
  CHECK(json.code == 3);
  CHECK(json.json()["error"]["kind"] == "input");
}

TEST_CASE("serve: a recording that cannot be made") {
  write_file(scratch() / "there.record", "precious");
  check_wrong("serve --checkpoint tiny --port 0 --quiet --record there.record", 6,
              "there.record: cannot be recorded to: it exists already: name another file");
  CHECK(nervus::test::read_file(scratch() / "there.record") == "precious");
  check_wrong("serve --checkpoint tiny --port 0 --quiet --record nowhere/a.record", 6,
              "nowhere/a.record: cannot be recorded to: No such file or directory");
  check_wrong("serve --checkpoint tiny --record a --record-max-mib 0", 2,
              "--record-max-mib: expected an integer from 1 to 1048576, found '0' (see 'nervus serve --help')");
}
