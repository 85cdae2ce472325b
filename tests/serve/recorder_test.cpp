// What is recorded while requests are answered: what waits, what is dropped, and when the disk is given it.
#include "serve/recorder.h"

#include <doctest/doctest.h>

#include "checkpoint/support.h"
#include "serve/fake.h"
#include "serve/record_file.h"

using namespace nervus;
using namespace nervus::serve;
using namespace nervus::test;

namespace {

// A disk that does what a test says.
struct FakeSink final : RecordSink {
  std::function<void()> before = [] {};
  std::vector<std::string> frames;
  std::uint64_t bytes = 0;
  std::function<void()> on_sync = [] {};
  std::size_t synced = 0;  // frames that were there at the last one
  std::atomic<int> syncs = 0;

  std::uint64_t size() const override { return bytes; }
  void append(std::string_view frame) override {
    before();
    frames.emplace_back(frame);
    bytes += frame.size();
  }
  void sync() override {
    synced = frames.size();
    ++syncs;
    on_sync();
  }
};

struct Lab {
  std::mutex mutex;
  std::string lines;
  Metrics metrics;
  Log log{[this](const std::string& line) {
    const std::lock_guard lock(mutex);
    lines += line + "\n";
  }};

  std::size_t said(const std::string& event) {
    const std::lock_guard lock(mutex);
    std::size_t count = 0;
    for (std::size_t at = 0; (at = lines.find("\"" + event + "\"", at)) != std::string::npos; ++at) ++count;
    return count;
  }
  double dropped(const std::string& reason) const {
    return metrics.value("nervus_record_dropped_total", "reason=\"" + reason + "\"");
  }
};

Job job_of(std::uint64_t ticket, std::size_t bytes) {
  const auto message = std::make_shared<const std::string>(bytes, 'm');
  return {.ticket = ticket, .message = message, .bytes = *message, .arrived = Clock::now()};
}

Answer answer_of(float value) {
  return {.chunk = {.steps = 1, .dimensions = 1, .values = {value}}, .timing = {{"total", 2.0}}};
}

}  // namespace

TEST_CASE("the recorder does not wait for the disk: what its queue cannot take is dropped and counted") {
  Lab lab;
  Gate begun, go;
  auto owned = std::make_unique<FakeSink>();
  FakeSink& sink = *owned;
  sink.before = [&] {
    begun.open();
    go.wait();
  };
  {
    Recorder recorder(std::move(owned), 1 << 30, lab.metrics, lab.log);
    recorder.record(job_of(0, 10), answer_of(0));
    begun.wait();
    for (std::uint64_t i = 1; i <= Recorder::most_waiting + 44; ++i) recorder.record(job_of(i, 10), answer_of(1));
    CHECK(lab.dropped("queue") == 44);
    CHECK(lab.said("record_dropped") == 6);  // at 1, 2, 4, 8, 16, 32
    CHECK(sink.frames.empty());
    go.open();
  }
  CHECK(lab.metrics.value("nervus_recorded_total") == 1 + Recorder::most_waiting);
  CHECK(lab.said("recorded") == 1);
}

TEST_CASE("the recorder's queue is bounded in bytes") {
  Lab lab;
  Gate begun, go;
  auto owned = std::make_unique<FakeSink>();
  owned->before = [&] {
    begun.open();
    go.wait();
  };
  {
    Recorder recorder(std::move(owned), std::uint64_t{1} << 40, lab.metrics, lab.log);
    constexpr std::size_t part = Recorder::most_waiting_bytes / 4;
    for (std::uint64_t i = 0; i < 6; ++i) recorder.record(job_of(i, part), answer_of(0));
    CHECK(lab.dropped("queue") == 2);
    begun.wait();
    go.open();
    // What was written makes room.
    for (int i = 5; i < 12; ++i) {
      CHECK(eventually([&] { return lab.metrics.value("nervus_recorded_total") == i - 1; }));
      recorder.record(job_of(static_cast<std::uint64_t>(i), part), answer_of(0));
    }
    CHECK(lab.dropped("queue") == 2);
  }
  CHECK(lab.metrics.value("nervus_recorded_total") == 11);
}

TEST_CASE("what is recorded is given to the disk, soon and at the end") {
  Lab lab;
  auto owned = std::make_unique<FakeSink>();
  FakeSink& sink = *owned;
  std::size_t synced_at_end = 0;
  int syncs_at_end = 0;
  sink.on_sync = [&] {
    synced_at_end = sink.synced;
    syncs_at_end = sink.syncs;
  };
  {
    Recorder recorder(std::move(owned), 1 << 20, lab.metrics, lab.log);
    recorder.record(job_of(0, 10), answer_of(0));
    CHECK(eventually([&] { return sink.syncs == 1; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    CHECK(sink.syncs == 1);  // there was nothing more
    recorder.record(job_of(1, 10), answer_of(0));
    recorder.record(job_of(2, 10), answer_of(0));
  }
  CHECK(synced_at_end == 3);
  CHECK(syncs_at_end <= 4);
}

TEST_CASE("a disk that does not take what it was given ends the recording") {
  Lab lab;
  auto owned = std::make_unique<FakeSink>();
  owned->on_sync = [] { throw Error(ErrorKind::io, "the disk lost it"); };
  {
    Recorder recorder(std::move(owned), 1 << 20, lab.metrics, lab.log);
    recorder.record(job_of(0, 10), answer_of(0));
    CHECK(eventually([&] { return lab.said("record_failed") == 1; }));
    recorder.record(job_of(1, 10), answer_of(0));
  }
  CHECK(lab.dropped("failed") == 1);
  CHECK(lab.metrics.value("nervus_recorded_total") == 1);
}

TEST_CASE("a recording that is full is closed, with a warning, and stays whole") {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory / "a";
  Lab lab;
  {
    Recorder recorder(path, "{}", 10000, lab.metrics, lab.log);
    CHECK(lab.metrics.value("nervus_record_bytes") == static_cast<double>(std::filesystem::file_size(path)));
    for (std::uint64_t i = 0; i < 20; ++i) recorder.record(job_of(i, 1000), answer_of(0));
  }
  const double recorded = lab.metrics.value("nervus_recorded_total");
  CHECK(recorded >= 7);
  CHECK(recorded + lab.dropped("full") == 20);
  CHECK(lab.said("record_full") == 1);
  CHECK(std::filesystem::file_size(path) <= 10000);
  CHECK(std::filesystem::file_size(path) > 8000);
  CHECK(lab.metrics.value("nervus_record_bytes") == static_cast<double>(std::filesystem::file_size(path)));
  RecordReader reader(path);
  std::uint64_t next = 0;
  while (const auto record = reader.next()) CHECK(record->ticket == next++);  // none between is missing
  CHECK(next == static_cast<std::uint64_t>(recorded));
  CHECK(reader.end().why.empty());
}

TEST_CASE("a disk that fails ends the recording, not the server") {
  Lab lab;
  auto owned = std::make_unique<FakeSink>();
  int calls = 0;
  owned->before = [&] {
    if (++calls == 3) throw Error(ErrorKind::io, "the disk is gone");
  };
  {
    Recorder recorder(std::move(owned), 1 << 20, lab.metrics, lab.log);
    for (std::uint64_t i = 0; i < 10; ++i) recorder.record(job_of(i, 10), answer_of(0));
  }
  CHECK(calls == 3);
  CHECK(lab.metrics.value("nervus_recorded_total") == 2);
  CHECK(lab.dropped("failed") == 8);
  CHECK(lab.said("record_failed") == 1);
  CHECK(lab.lines.find("the disk is gone") != std::string::npos);
}

TEST_CASE("a record says whose request it was, when it came, and what it got") {
  const TemporaryDirectory directory;
  const auto now_us = [] {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  };
  constexpr std::int64_t waited_us = 5'000'000, rounding_us = 1000;
  Lab lab;
  const std::int64_t began = now_us();
  {
    Recorder recorder(directory / "a", "{}", 1 << 20, lab.metrics, lab.log);
    Job job = job_of(7, 10);
    job.session = 4;
    job.arrived -= std::chrono::microseconds(waited_us);
    job.request = {.dialect = Dialect::lingbot, .seed = 9, .steps = 25};
    recorder.record(job, answer_of(0.5f));
    recorder.record(job_of(8, 10), {.refusal = Refusal{.code = "guard_tripped", .message = "too far"}});
  }
  RecordReader reader(directory / "a");
  const auto first = reader.next(), second = reader.next();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->session == 4);
  CHECK(first->ticket == 7);
  CHECK(first->dialect == "lingbot");
  CHECK(first->seed == 9);
  CHECK(first->steps == 25);
  CHECK(first->outcome == "ok");
  CHECK(first->request == std::string(10, 'm'));
  CHECK(first->shape == Shape{1, 1});
  CHECK(first->actions.size() == 4);
  CHECK(first->infer_ms == 2);
  CHECK(first->answered_ms >= 5000);
  CHECK(first->arrived_us >= began - waited_us - rounding_us);
  CHECK(first->arrived_us <= now_us() - waited_us + rounding_us);
  CHECK(second->dialect == "openpi");
  CHECK(second->outcome == "guard_tripped");
  CHECK(second->message == "too far");
  CHECK(second->shape == Shape{0, 0});
  CHECK(second->actions.empty());
}
