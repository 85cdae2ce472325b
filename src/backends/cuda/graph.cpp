#include "backends/cuda/graph.h"

namespace nervus::cuda {
namespace {

class RecordedGraph final : public Graph {
 public:
  RecordedGraph(const Stream& stream, const GraphTemplate& recorded) : stream_(stream) {
    check_cuda(cudaGraphInstantiate(exec_.out(), recorded.get(), 0), "instantiating a graph");
    check_cuda(cudaGraphUpload(exec_.get(), stream.get()), "uploading a graph");
  }

  void launch() override {
    stream_.use();
    check_cuda(cudaGraphLaunch(exec_.get(), stream_.get()), "launching a graph");
  }

 private:
  const Stream& stream_;
  GraphExec exec_;
};

}  // namespace

std::unique_ptr<Graph> capture_graph(const Stream& stream, const std::function<void()>& work) {
  stream.use();
  work();
  stream.synchronize();
  GraphTemplate recorded;
  try {
    check_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "beginning to record a graph");
    work();
  } catch (...) {
    cudaStreamEndCapture(stream.get(), recorded.out());
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream.get(), recorded.out()), "recording a graph");
  auto graph = std::make_unique<RecordedGraph>(stream, recorded);
  stream.synchronize();
  return graph;
}

}  // namespace nervus::cuda
