// A device whose graphs are like a GPU's, on the CPU: they hold the calls of kernels with the addresses and extents of
// their capture. Once sealed, as after a load, it refuses all that a call must not do.
#pragma once

#include <map>

#include "backends/device.h"

namespace nervus::test {

class GraphDevice : public Device, private Kernels {
 public:
  // `few_rows`: says that it fuses the blocks of up to so many rows, though it composes them.
  GraphDevice(std::unique_ptr<Device> inner, std::int64_t granularity, std::int64_t few_rows = 0)
      : Device(3), inner_(std::move(inner)), granularity_(granularity), few_rows_(few_rows) {}

  void seal() { sealed_ = true; }
  int launches = 0;
  int downloads = 0;
  // The weights that products of a linear were recorded with, by its name and the product's rows.
  std::map<std::pair<std::string, std::int64_t>, const void*> weights;

  std::string description() const override { return inner_->description(); }
  Kernels& kernels() override { return *this; }
  DType activation() const override { return inner_->activation(); }
  Linear make_linear(const LinearSource& source) override {
    LinearSource composed = source;
    composed.block = nullptr;
    return open()->make_linear(composed);
  }
  BlockPlan plan_blocks(const BlockShape& shape) override {
    BlockPlan plan;
    plan.fused = shape.rows <= few_rows_;
    return plan;
  }
  void* allocate(std::int64_t bytes) override { return open()->allocate(bytes); }
  void upload(const Tensor& target, const void* source) override { inner_->upload(target, source); }
  void* staging(const Tensor& target) override {
    std::int64_t& reserved = staging_[target.data];
    if (target.bytes() > reserved) open();
    reserved = std::max(reserved, target.bytes());
    return Device::staging(target);  // not the target's own, so that what is uploaded too early is wrong
  }
  void download(void* target, const Tensor& source) override {
    ++downloads;
    inner_->download(target, source);
  }
  std::int64_t memory() const override { return inner_->memory(); }
  std::int64_t row_granularity() const override { return granularity_; }
  std::int64_t few_rows() const override { return few_rows_; }
  void synchronize() override { open(); }
  std::unique_ptr<Graph> capture(std::function<void()> work) override {
    open();
    auto graph = std::make_unique<Calls>(*this);
    recording_ = graph.get();
    work();
    recording_ = nullptr;
    return graph;
  }

 private:
  struct Calls : Graph {
    explicit Calls(GraphDevice& owner) : device(owner) {}
    void launch() override {
      ++device.launches;
      for (const auto& call : calls) call();
    }
    GraphDevice& device;
    std::vector<std::function<void()>> calls;
  };

  Device* open() {
    check(!sealed_, "a call neither allocates, captures nor waits");
    return inner_.get();
  }
  void add(std::function<void()> call) {
    check(recording_ != nullptr || !sealed_, "a call launches graphs alone");
    if (recording_ != nullptr) recording_->calls.push_back(std::move(call));
    else call();
  }

  void linear(const Tensor& y, const Tensor& x, const Linear& w) override {
    weights[{w.name, y.rows}] = w.weight.get();
    add([=, this] { inner_->kernels().linear(y, x, w); });
  }
  void linear_add(const Tensor& h, const Tensor& x, const Linear& w, const Tensor& gate) override {
    add([=, this] { inner_->kernels().linear_add(h, x, w, gate); });
  }
  void rms_norm(const Tensor& y, const Tensor& h, const Norm& norm) override {
    add([=, this] { inner_->kernels().rms_norm(y, h, norm); });
  }
  void split_rope(const Tensor& q, const KeyValues& cache, const Tensor& slots, const Tensor& qkv, const Heads& heads,
                  const Rope& rope) override {
    add([=, this] { inner_->kernels().split_rope(q, cache, slots, qkv, heads, rope); });
  }
  void attention(const Tensor& y, const Tensor& q, const KeyValues& cache, const Visible& visible,
                 const Heads& heads) override {
    add([=, this] { inner_->kernels().attention(y, q, cache, visible, heads); });
  }
  void swiglu(const Tensor& y, const Tensor& x) override {
    add([=, this] { inner_->kernels().swiglu(y, x); });
  }
  void silu(const Tensor& y, const Tensor& x) override {
    add([=, this] { inner_->kernels().silu(y, x); });
  }
  void gelu(const Tensor& y, const Tensor& x) override {
    add([=, this] { inner_->kernels().gelu(y, x); });
  }
  void gather_rows(const Tensor& y, const Tensor& x, const Tensor& index) override {
    add([=, this] { inner_->kernels().gather_rows(y, x, index); });
  }
  void cut_patches(const Tensor& y, const Tensor& pixels, const Tensor& levels,
                   const PatchGeometry& geometry) override {
    inner_->kernels().cut_patches(y, pixels, levels, geometry);  // of an upload
  }
  void euler_step(const Tensor& x, const Tensor& v, float dt) override {
    add([=, this] { inner_->kernels().euler_step(x, v, dt); });
  }

  std::unique_ptr<Device> inner_;
  std::map<const void*, std::int64_t> staging_;  // bytes asked for
  std::int64_t granularity_, few_rows_;
  bool sealed_ = false;
  Calls* recording_ = nullptr;
};

}  // namespace nervus::test
