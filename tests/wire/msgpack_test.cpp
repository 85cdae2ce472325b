#include "wire/msgpack.h"

#include <doctest/doctest.h>

#include <cmath>

#include "checkpoint/support.h"

using namespace nervus;
using namespace nervus::wire;
using namespace std::string_literals;
using nervus::test::error_of;

namespace {

// What the reader says of a message: "" if it takes it, otherwise its words behind "msgpack: ".
std::string said(const std::string& message, const MsgpackLimits& limits = {}) {
  const auto [kind, text] = error_of([&] { MsgpackDocument::read(message, limits); });
  if (text == "no error") return "";
  CHECK(kind == ErrorKind::input);
  CHECK(text.starts_with("msgpack: "));
  return text.substr(9);
}

std::string repeated(const std::string& part, int count) {
  std::string all;
  while (count-- > 0) all += part;
  return all;
}

struct Case {
  std::string message;
  std::string outcome;
};

}  // namespace

TEST_CASE("values of every code are read") {
  const auto number = [](const std::string& message) { return MsgpackDocument::read(message).root().number().value(); };
  CHECK(number("\x00"s) == 0);
  CHECK(number("\x7f") == 127);
  CHECK(number("\xe0") == -32);
  CHECK(number("\xff") == -1);
  CHECK(number("\xcc\xff") == 255);
  CHECK(number("\xcd\x01\x02") == 258);
  CHECK(number("\xce\x00\x01\x00\x00"s) == 65536);
  CHECK(number("\xcf\xff\xff\xff\xff\xff\xff\xff\xff") == doctest::Approx(1.8446744073709552e19));
  CHECK(number("\xd0\x80") == -128);
  CHECK(number("\xd1\x80\x00"s) == -32768);
  CHECK(number("\xd2\x80\x00\x00\x00"s) == -2147483648.0);
  CHECK(number("\xd3\xff\xff\xff\xff\xff\xff\xff\xfe") == -2);
  CHECK(number("\xca\x3f\x80\x00\x00"s) == 1);
  CHECK(number("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"s) == 1.5);
  CHECK(std::isnan(number("\xca\x7f\xc0\x00\x00"s)));
  const auto root = [](const MsgpackDocument& document) { return document.root(); };
  const auto big = MsgpackDocument::read("\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
  CHECK(root(big).natural() == 0xffffffffffffffffu);
  CHECK(!MsgpackDocument::read("\xff").root().natural());
  CHECK(MsgpackDocument::read("\xc0").root().kind() == MsgpackKind::nil);
  CHECK(MsgpackDocument::read("\xc3").root().boolean() == true);
  CHECK(MsgpackDocument::read("\xc2").root().boolean() == false);
  CHECK(MsgpackDocument::read("\xa3"
                              "abc")
            .root()
            .text() == "abc");
  CHECK(MsgpackDocument::read("\xd9\x03"
                              "abc")
            .root()
            .text() == "abc");
  CHECK(MsgpackDocument::read("\xda\x00\x03"
                              "abc"s)
            .root()
            .text() == "abc");
  CHECK(MsgpackDocument::read("\xdb\x00\x00\x00\x03"
                              "abc"s)
            .root()
            .text() == "abc");
  CHECK(MsgpackDocument::read("\xc4\x02\xff\x00"s).root().binary() == "\xff\x00"s);
  CHECK(MsgpackDocument::read("\xc5\x00\x02\xff\x00"s).root().binary() == "\xff\x00"s);
  CHECK(MsgpackDocument::read("\xc6\x00\x00\x00\x00"s).root().binary() == "");
}

TEST_CASE("maps and arrays are found by key, in order, whatever is inside") {
  const std::string message =
      "\x83\xa1"
      "a\x93\x01\x92\x02\x03\xc0\xc4\x01"
      "b\x81\xa1"
      "c\xa1"
      "d\xa1"
      "e\x05";
  const MsgpackDocument document = MsgpackDocument::read(message);
  const MsgpackValue root = document.root();
  CHECK(root.size() == 3);
  REQUIRE(root.find("a"));
  CHECK(root.find("a")->elements().size() == 3);
  CHECK(root.find("a")->elements()[1].elements()[1].number() == 3);
  CHECK(root.find("b")->find("c")->text() == "d");
  CHECK(root.find("e")->number() == 5);
  CHECK(!root.find("c"));
  CHECK(!root.find("e")->find("x"));
  CHECK(root.entries().size() == 3);
  CHECK(root.entries()[1].first == "b");
  CHECK(root.find("e")->elements().empty());
}

TEST_CASE("what the writer writes, the reader reads") {
  MsgpackWriter writer;
  writer.map(7).text("int").integer(-5).text("big").natural(1ull << 63).text("real").real(0.1).text("none").nil();
  writer.text("yes").boolean(true).binary("bin").binary(std::string(70000, 'x')).text("list").array(20);
  for (int i = 0; i < 20; ++i) writer.text(std::string(40, 'y'));
  const std::string message = writer.take();
  const MsgpackDocument document = MsgpackDocument::read(message);
  const MsgpackValue root = document.root();
  CHECK(root.find("int")->number() == -5);
  CHECK(root.find("big")->natural() == 1ull << 63);
  CHECK(root.find("real")->number() == 0.1);
  CHECK(root.find("none")->kind() == MsgpackKind::nil);
  CHECK(root.find("yes")->boolean() == true);
  CHECK(root.find("bin")->binary()->size() == 70000);
  CHECK(root.find("list")->elements().at(19).text() == std::string(40, 'y'));
}

TEST_CASE("malformed messages: each has its words") {
  for (const auto& [message, outcome] : std::vector<Case>{
           {"", "byte 0: expected 1 byte more, found 0"},
           {"\x00\x00"s, "byte 1: expected the end of the message, found 1 more bytes"},
           {"\xc0\xc0\xc0", "byte 1: expected the end of the message, found 2 more bytes"},
           {"\xc1", "byte 0: expected a value, found the code 0xc1, which is none"},
           {"\x81\xc1", "byte 1: expected a map that fits the 1 bytes behind it, found 1 entries"},
           {"\xc7\x01\x01\x00"s, "byte 0: expected no extension type, found the code 0xc7"},
           {"\xc8\x00\x01\x01\x00"s, "byte 0: expected no extension type, found the code 0xc8"},
           {"\xc9\x00\x00\x00\x01\x01\x00"s, "byte 0: expected no extension type, found the code 0xc9"},
           {"\xd4\x01\x00"s, "byte 0: expected no extension type, found the code 0xd4"},
           {"\xd5\x01\x00\x00"s, "byte 0: expected no extension type, found the code 0xd5"},
           {"\xd6\xff\x00\x00\x00\x00"s, "byte 0: expected no extension type, found the code 0xd6"},
           {"\xd7\x01", "byte 0: expected no extension type, found the code 0xd7"},
           {"\xd8\x01", "byte 0: expected no extension type, found the code 0xd8"},
           // Numbers cut short.
           {"\xca", "byte 1: expected 4 bytes more, found 0"},
           {"\xca\x00\x00\x00"s, "byte 1: expected 4 bytes more, found 3"},
           {"\xcb\x00\x00\x00\x00\x00\x00\x00"s, "byte 1: expected 8 bytes more, found 7"},
           {"\xcc", "byte 1: expected 1 byte more, found 0"},
           {"\xcd\x00"s, "byte 1: expected 2 bytes more, found 1"},
           {"\xce\x00\x00\x00"s, "byte 1: expected 4 bytes more, found 3"},
           {"\xcf", "byte 1: expected 8 bytes more, found 0"},
           {"\xd0", "byte 1: expected 1 byte more, found 0"},
           {"\xd1\x00"s, "byte 1: expected 2 bytes more, found 1"},
           {"\xd2\x00"s, "byte 1: expected 4 bytes more, found 1"},
           {"\xd3\x00"s, "byte 1: expected 8 bytes more, found 1"},
           // Strings and binaries cut short, and lengths that are not there.
           {"\xa1", "byte 1: expected 1 byte more, found 0"},
           {"\xbf"
            "abc",
            "byte 1: expected 31 bytes more, found 3"},
           {"\xd9", "byte 1: expected 1 byte more, found 0"},
           {"\xd9\x05"
            "abc",
            "byte 2: expected 5 bytes more, found 3"},
           {"\xda\x00"s, "byte 1: expected 2 bytes more, found 1"},
           {"\xda\xff\xff", "byte 3: expected 65535 bytes more, found 0"},
           {"\xdb\x00\x01\x00\x01"s, "byte 5: expected a string of at most 65536 bytes, found 65537"},
           {"\xdb\xff\xff\xff\xff", "byte 5: expected a string of at most 65536 bytes, found 4294967295"},
           {"\xc4", "byte 1: expected 1 byte more, found 0"},
           {"\xc4\x01", "byte 2: expected 1 byte more, found 0"},
           {"\xc5\xff\xff", "byte 3: expected 65535 bytes more, found 0"},
           {"\xc6\xff\xff\xff\xff", "byte 5: expected 4294967295 bytes more, found 0"},
           {"\xc6\x7f\xff\xff\xff"
            "abc",
            "byte 5: expected 2147483647 bytes more, found 3"},
           // Text that is no UTF-8.
           {"\xa1\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa1\xff", "byte 1: expected a string of valid UTF-8"},
           {"\xa2\xc0\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa2\xc1\xbf", "byte 1: expected a string of valid UTF-8"},
           {"\xa2\xc3\x28", "byte 1: expected a string of valid UTF-8"},
           {"\xa1\xc3", "byte 1: expected a string of valid UTF-8"},
           {"\xa3\xe0\x80\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa3\xe0\x9f\xbf", "byte 1: expected a string of valid UTF-8"},
           {"\xa3\xed\xa0\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa3\xed\xbf\xbf", "byte 1: expected a string of valid UTF-8"},
           {"\xa2\xe2\x82", "byte 1: expected a string of valid UTF-8"},
           {"\xa4\xf0\x8f\xbf\xbf", "byte 1: expected a string of valid UTF-8"},
           {"\xa4\xf4\x90\x80\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa4\xf5\x80\x80\x80", "byte 1: expected a string of valid UTF-8"},
           {"\xa4\xf0\x9f\x98\x28", "byte 1: expected a string of valid UTF-8"},
           // Arrays and maps that promise more than is there.
           {"\x91", "byte 1: expected an array that fits the 0 bytes behind it, found 1 elements"},
           {"\x9f\xc0", "byte 1: expected an array that fits the 1 bytes behind it, found 15 elements"},
           {"\xdc\x00"s, "byte 1: expected 2 bytes more, found 1"},
           {"\xdc\x10\x00"s, "byte 3: expected an array that fits the 0 bytes behind it, found 4096 elements"},
           {"\xdc\x10\x01", "byte 3: expected an array of at most 4096 elements, found 4097"},
           {"\xdc\xff\xff", "byte 3: expected an array of at most 4096 elements, found 65535"},
           {"\xdd\xff\xff\xff\xff", "byte 5: expected an array of at most 4096 elements, found 4294967295"},
           {"\xdd\x00\x00\x00"s, "byte 1: expected 4 bytes more, found 3"},
           {"\x92\xc0", "byte 1: expected an array that fits the 1 bytes behind it, found 2 elements"},
           {"\x92\xc0\xcd", "byte 3: expected 2 bytes more, found 0"},
           {"\x81", "byte 1: expected a map that fits the 0 bytes behind it, found 1 entries"},
           {"\x81\xa1", "byte 1: expected a map that fits the 1 bytes behind it, found 1 entries"},
           {"\x81\xa1"
            "a",
            "byte 3: expected 1 byte more, found 0"},
           {"\x8f\xa1"
            "a\xc0",
            "byte 1: expected a map that fits the 3 bytes behind it, found 15 entries"},
           {"\xde\x00"s, "byte 1: expected 2 bytes more, found 1"},
           {"\xde\x04\x01", "byte 3: expected a map of at most 1024 entries, found 1025"},
           {"\xde\xff\xff", "byte 3: expected a map of at most 1024 entries, found 65535"},
           {"\xdf\xff\xff\xff\xff", "byte 5: expected a map of at most 1024 entries, found 4294967295"},
           {"\xdf\x00\x00\x00"s, "byte 1: expected 4 bytes more, found 3"},
           // Keys.
           {"\x81\x01\x02", "byte 2: expected a string or binary as the key before, found an integer"},
           {"\x81\xc0\x02", "byte 2: expected a string or binary as the key before, found nil"},
           {"\x81\xc3\x02", "byte 2: expected a string or binary as the key before, found a boolean"},
           {"\x81\xca\x00\x00\x00\x00\x02"s, "byte 6: expected a string or binary as the key before, found a number"},
           {"\x81\x90\x02", "byte 2: expected a string or binary as the key before, found an array"},
           {"\x81\x80\x02", "byte 2: expected a string or binary as the key before, found a map"},
           {"\x82\xa1"
            "a\x01\xa1"
            "a\x02",
            "byte 7: expected no key twice in the map before"},
           {"\x82\xa1"
            "a\x01\xc4\x01"
            "a\x02",
            "byte 8: expected no key twice in the map before"},
           {"\x82\xa0\x01\xa0\x02", "byte 5: expected no key twice in the map before"},
           {"\x81\xa1"
            "a\x82\xa1"
            "b\x01\xa1"
            "b\x02",
            "byte 10: expected no key twice in the map before"},
           // Depth.
           {repeated("\x91", 17) + "\xc0", "byte 17: expected arrays and maps at most 16 deep inside each other"},
           {repeated("\x81\xa1"
                     "a",
                     17) +
                "\xc0",
            "byte 49: expected arrays and maps at most 16 deep inside each other"},
           {repeated("\x91", 1000000), "byte 17: expected arrays and maps at most 16 deep inside each other"},
           {repeated("\xdd\x00\x00\x00\x01"s, 20) + "\xc0",
            "byte 85: expected arrays and maps at most 16 deep inside each other"},
       }) {
    CAPTURE(outcome);
    CHECK(said(message) == outcome);
  }
}

TEST_CASE("the limits themselves pass") {
  CHECK(said(repeated("\x91", 16) + "\xc0") == "");
  CHECK(said("\xdc\x10\x00"s + std::string(4096, '\xc0')) == "");
  std::string map = "\xde\x04\x00"s;
  for (int i = 0; i < 1024; ++i) map += "\xa4" + std::to_string(1000 + i) + "\xc0";
  CHECK(said(map) == "");
  CHECK(said("\xdb\x00\x01\x00\x00"s + std::string(65536, 'a')) == "");
  CHECK(said("\xa4\xf4\x8f\xbf\xbf") == "");
  CHECK(said("\xa3\xef\xbf\xbf") == "");
}

TEST_CASE("the number of values is bounded") {
  CHECK(said("\x93\xc0\xc0\xc0", {.nodes = 4}) == "");
  CHECK(said("\x93\xc0\xc0\xc0", {.nodes = 3}) == "byte 4: expected at most 3 values");
  // 25 arrays of 4,096.
  const std::string message = "\xdc\x00\x19"s + repeated("\xdc\x10\x00"s + std::string(4096, '\xc0'), 25);
  CHECK(said(message).ends_with("expected at most 100000 values"));
}

TEST_CASE("every message cut short is refused, and none that is whole") {
  MsgpackWriter writer;
  writer.map(2).text("a").array(3).integer(1).real(2.5).binary("xyz").text("b").map(1).binary("c").text("text");
  const std::string whole = writer.take();
  CHECK(said(whole) == "");
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(said(whole.substr(0, size)) != "");
}
