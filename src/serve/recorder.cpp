#include "serve/recorder.h"

#include <bit>
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/message.h"
#include "serve/record_file.h"

namespace nervus::serve {
namespace {

using std::chrono::microseconds;

class FileSink final : public RecordSink {
 public:
  FileSink(const std::filesystem::path& path, const std::string& settings) : file_(path, settings) {}
  std::uint64_t size() const override { return file_.size(); }
  void append(std::string_view frame) override { file_.append(frame); }
  void sync() override { file_.sync(); }

 private:
  RecordFile file_;
};

std::int64_t now_us() {
  return std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

struct Recorder::Item {
  std::shared_ptr<const void> owner;  // of the request's bytes
  std::string_view request;
  Record record;
  std::string outcome, message;
  std::vector<float> actions;
};

Recorder::Recorder(const std::filesystem::path& file, const std::string& settings, std::uint64_t most_bytes,
                   Metrics& metrics, Log& log)
    : Recorder(std::make_unique<FileSink>(file, settings), most_bytes, metrics, log) {}

Recorder::Recorder(std::unique_ptr<RecordSink> sink, std::uint64_t most_bytes, Metrics& metrics, Log& log)
    : sink_(std::move(sink)), most_bytes_(most_bytes), metrics_(metrics), log_(log) {
  metrics_.set("nervus_record_bytes", static_cast<double>(sink_->size()));
  thread_ = std::thread([this] { work(); });
}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
  log_.info("recorded",
            {{"requests", metrics_.value("nervus_recorded_total")}, {"dropped", dropped_}, {"bytes", sink_->size()}});
}

void Recorder::record(const Job& job, const Answer& answer) {
  const double since_ms = milliseconds(Clock::now() - job.arrived);
  auto item = std::make_unique<Item>();
  item->owner = job.message;
  item->request = job.bytes;
  item->outcome = answer.refusal ? answer.refusal->code : "ok";
  if (answer.refusal) item->message = answer.refusal->message;
  else item->actions = answer.chunk.values;
  const auto total = answer.timing.find("total");
  item->record = {.session = job.session,
                  .ticket = job.ticket,
                  .arrived_us = now_us() - static_cast<std::int64_t>(since_ms * 1000),
                  .answered_ms = since_ms,
                  .infer_ms = total == answer.timing.end() ? 0 : total->second,
                  .dialect = job.request.dialect == Dialect::lingbot ? "lingbot" : "openpi",
                  .seed = job.request.seed,
                  .steps = static_cast<std::uint64_t>(job.request.steps),
                  .shape = answer.refusal ? Shape{0, 0} : Shape{answer.chunk.steps, answer.chunk.dimensions}};
  {
    const std::lock_guard lock(mutex_);
    const bool full = queue_.size() >= most_waiting || waiting_bytes_ + item->request.size() > most_waiting_bytes;
    if (!full) {
      waiting_bytes_ += item->request.size();
      queue_.push_back(std::move(item));
    }
  }
  if (item) drop("queue");
  else wake_.notify_one();
}

// Says so at the first, second, fourth, eighth, ...
void Recorder::drop(const char* reason) {
  metrics_.add("nervus_record_dropped_total", concat("reason=\"", reason, "\""));
  std::uint64_t dropped = 0;
  {
    const std::lock_guard lock(mutex_);
    dropped = ++dropped_;
  }
  if (std::has_single_bit(dropped)) log_.warning("record_dropped", {{"reason", reason}, {"dropped", dropped}});
}

void Recorder::write(const Item& item) {
  if (closed_ != nullptr) return drop(closed_);
  Record record = item.record;
  record.request = item.request;
  record.outcome = item.outcome;
  record.message = item.message;
  record.actions = {reinterpret_cast<const char*>(item.actions.data()), item.actions.size() * sizeof(float)};
  const std::string frame = encode(record);
  if (sink_->size() + frame.size() > most_bytes_) {
    closed_ = "full";
    log_.warning("record_full", {{"bytes", sink_->size()}, {"most_bytes", most_bytes_}});
    return drop(closed_);
  }
  try {
    sink_->append(frame);
  } catch (const Error& error) {
    closed_ = "failed";
    log_.error("record_failed", {{"message", error.what()}});
    return drop(closed_);
  }
  metrics_.add("nervus_recorded_total");
  metrics_.set("nervus_record_bytes", static_cast<double>(sink_->size()));
}

void Recorder::sync() {
  if (closed_ != nullptr) return;
  try {
    sink_->sync();
  } catch (const Error& error) {
    closed_ = "failed";
    log_.error("record_failed", {{"message", error.what()}});
  }
}

// What was written is given to the disk when there is nothing to write, at most once a second.
void Recorder::work() {
  constexpr auto between_syncs = std::chrono::seconds(1);
  Clock::time_point synced = Clock::now();
  bool dirty = false;
  std::unique_lock lock(mutex_);
  while (true) {
    const auto woken = [this] { return ending_ || !queue_.empty(); };
    if (dirty) wake_.wait_until(lock, synced + between_syncs, woken);
    else wake_.wait(lock, woken);
    if (!queue_.empty()) {
      std::unique_ptr<Item> item = std::move(queue_.front());
      queue_.pop_front();
      const std::size_t bytes = item->request.size();
      lock.unlock();
      write(*item);
      item.reset();
      dirty = true;
      lock.lock();
      waiting_bytes_ -= bytes;
    } else if (dirty) {
      lock.unlock();
      sync();
      synced = Clock::now();
      dirty = false;
      lock.lock();
    } else if (ending_) {
      return;
    }
  }
}

}  // namespace nervus::serve
