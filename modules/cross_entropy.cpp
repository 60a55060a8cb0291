#include "modules/cross_entropy.h"

#include <optional>

#include "modules/dispatch_type.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/row_loop.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows whose logits are held at a time: about 16 MiB of float32.
int64_t rows_per_chunk(int64_t vocab) {
  constexpr int64_t kLogits = int64_t{1} << 22;
  return std::max<int64_t>(64, kLogits / vocab);
}

/// Turns logits into softmax - onehot in place; returns the losses of the rows.
at::Tensor softmax_loss(at::Tensor& logits_CV, const at::Tensor& targets_C) {
  at::Tensor losses = at::empty({logits_CV.size(0)}, at::kDouble);
  const int64_t vocab = logits_CV.size(1);
  DSMOE_DISPATCH(logits_CV, [&] {
    auto* logits = logits_CV.mutable_data_ptr<scalar_t>();
    const auto* targets = targets_C.const_data_ptr<int64_t>();
    auto* loss = losses.mutable_data_ptr<double>();
    for_rows(logits_CV.size(0), vocab, [&](int64_t b, int64_t e) {
      kernels::kernels<scalar_t>().cross_entropy(logits + b * vocab, targets + b, loss + b, e - b,
                                                 vocab);
    });
  });
  return losses;
}

/// Multiplies each row's loss and gradient by what its target counts.
void count_each(at::Tensor& losses_C, at::Tensor& dlogits_CV, const at::Tensor& counts_C) {
  losses_C.mul_(counts_C);
  dlogits_CV.mul_(counts_C.to(dlogits_CV.scalar_type()).unsqueeze(1));
}

struct CrossEntropyFunction : torch::autograd::Function<CrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h_NM,
                            const at::Tensor& weight_VM, const at::Tensor& targets_N,
                            const std::optional<at::Tensor>& counts_N, bool with_gradient) {
    const at::Tensor weight = weight_VM.to(h_NM.scalar_type());
    const int64_t chunk = rows_per_chunk(weight.size(0));
    const bool trains = with_gradient && weight_VM.requires_grad();
    at::Tensor dh_NM, dweight_VM;
    if (with_gradient) dh_NM = at::empty_like(h_NM);
    if (trains) dweight_VM = at::zeros(weight.sizes(), gradient_of(weight_VM).options());
    double loss = 0;
    for (int64_t begin = 0; begin < h_NM.size(0); begin += chunk) {
      const int64_t count = std::min(chunk, h_NM.size(0) - begin);
      const at::Tensor h_CM = h_NM.narrow(0, begin, count);
      at::Tensor logits_CV = at::mm(h_CM, weight.t());
      at::Tensor losses_C = softmax_loss(logits_CV, targets_N.narrow(0, begin, count));
      if (counts_N) count_each(losses_C, logits_CV, counts_N->narrow(0, begin, count));
      loss += losses_C.sum().item<double>();
      if (!with_gradient) continue;
      at::Tensor dh_CM = dh_NM.narrow(0, begin, count);
      at::mm_out(dh_CM, logits_CV, weight);
      if (trains) add_weight_gradient(dweight_VM, logits_CV, h_CM);
    }
    if (with_gradient) ctx->save_for_backward({dh_NM, dweight_VM, weight_VM});
    return at::scalar_tensor(loss, at::kDouble);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const double scale = grads[0].item<double>();
    if (ctx->needs_input_grad(1)) gradient_of(saved[2]).add_(saved[1], scale);
    return {saved[0] * scale, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                             const at::Tensor& targets_N, const at::Tensor& counts_N) {
  const bool with_gradient =
      at::GradMode::is_enabled() && (h_NM.requires_grad() || weight_VM.requires_grad());
  std::optional<at::Tensor> counts;
  if (counts_N.defined()) counts = counts_N;
  const at::Tensor rows = targets_N.ge(0).nonzero().squeeze(1);
  if (rows.numel() == targets_N.numel()) {
    return CrossEntropyFunction::apply(h_NM.contiguous(), weight_VM, targets_N.contiguous(), counts,
                                       with_gradient);
  }
  if (counts) counts = counts->index_select(0, rows);
  return CrossEntropyFunction::apply(h_NM.index_select(0, rows), weight_VM,
                                     targets_N.index_select(0, rows), counts, with_gradient);
}

at::Tensor cross_entropy_rows(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                              const at::Tensor& targets_N) {
  const at::NoGradGuard no_grad;
  const int64_t chunk = rows_per_chunk(weight_VM.size(0));
  std::vector<at::Tensor> losses{at::empty({0}, at::kDouble)};
  for (int64_t begin = 0; begin < h_NM.size(0); begin += chunk) {
    const int64_t count = std::min(chunk, h_NM.size(0) - begin);
    at::Tensor logits_CV = at::mm(h_NM.narrow(0, begin, count), weight_VM.t());
    losses.push_back(softmax_loss(logits_CV, targets_N.narrow(0, begin, count)));
  }
  return at::cat(losses);
}

}  // namespace dsmoe::nn
