#include "modules/cross_entropy.h"

#include <optional>

#include "modules/dispatch_type.h"
#include "modules/gradient.h"
#include "modules/kernels/kernel_table.h"
#include "modules/library_operations.h"
#include "modules/own_kernels.h"
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
  if (!has_own_kernels(logits_CV)) return library::softmax_loss(logits_CV, targets_C);
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

/// One factor pair of the logits, x_NI weight_VI^T, and what its gradients become.
struct Factors {
  at::Tensor x_NI;
  at::Tensor parameter_VI;
  at::Tensor weight_VI;  ///< in x's type
  at::Tensor dx_NI;
  at::Tensor dweight_VI;

  Factors(const at::Tensor& x, const at::Tensor& parameter, bool with_gradient)
      : x_NI(x), parameter_VI(parameter), weight_VI(parameter.to(x.scalar_type())) {
    if (!with_gradient) return;
    if (x.requires_grad()) dx_NI = at::empty_like(x);
    if (!parameter.requires_grad()) return;
    dweight_VI = at::zeros(parameter.sizes(), gradient_of(parameter).options());
  }

  void add_logits(at::Tensor& logits_CV, int64_t begin) const {
    const at::Tensor x_CI = x_NI.narrow(0, begin, logits_CV.size(0));
    logits_CV.addmm_(x_CI, weight_VI.t());
  }

  void take_gradient(const at::Tensor& dlogits_CV, int64_t begin) {
    const int64_t count = dlogits_CV.size(0);
    if (dx_NI.defined()) {
      at::Tensor dx_CI = dx_NI.narrow(0, begin, count);
      at::mm_out(dx_CI, dlogits_CV, weight_VI);
    }
    if (!dweight_VI.defined()) return;
    add_weight_gradient(dweight_VI, dlogits_CV, x_NI.narrow(0, begin, count));
  }
};

/// dx of one pair, after its dW was added to the parameter's gradient.
at::Tensor scaled_gradient(const variable_list& saved, size_t first, double scale) {
  const at::Tensor &dx = saved[first], &dweight = saved[first + 1], &parameter = saved[first + 2];
  if (dweight.defined()) gradient_of(parameter).add_(dweight, scale);
  return dx.defined() ? dx * scale : at::Tensor();
}

struct CrossEntropyFunction : torch::autograd::Function<CrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h_NM,
                            const at::Tensor& weight_VM, const std::optional<at::Tensor>& low_NR,
                            const std::optional<at::Tensor>& b_VR, const at::Tensor& targets_N,
                            const std::optional<at::Tensor>& counts_N, bool with_gradient) {
    std::vector<Factors> all{{h_NM, weight_VM, with_gradient}};
    if (low_NR) all.emplace_back(*low_NR, *b_VR, with_gradient);
    const int64_t vocab = weight_VM.size(0), chunk = rows_per_chunk(vocab);
    double loss = 0;
    for (int64_t begin = 0; begin < h_NM.size(0); begin += chunk) {
      const int64_t count = std::min(chunk, h_NM.size(0) - begin);
      at::Tensor logits_CV = at::mm(h_NM.narrow(0, begin, count), all.front().weight_VI.t());
      if (low_NR) all.back().add_logits(logits_CV, begin);
      at::Tensor losses_C = softmax_loss(logits_CV, targets_N.narrow(0, begin, count));
      if (counts_N) count_each(losses_C, logits_CV, counts_N->narrow(0, begin, count));
      loss += losses_C.sum().item<double>();
      if (!with_gradient) continue;
      for (Factors& one : all) one.take_gradient(logits_CV, begin);
    }
    if (with_gradient) {
      variable_list saved;
      for (const Factors& one : all) {
        saved.insert(saved.end(), {one.dx_NI, one.dweight_VI, one.parameter_VI});
      }
      ctx->save_for_backward(saved);
    }
    return at::scalar_tensor(loss, at::kDouble);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const double scale = grads[0].item<double>();
    const at::Tensor dh_NM = scaled_gradient(saved, 0, scale);
    const at::Tensor dlow_NR = saved.size() > 3 ? scaled_gradient(saved, 3, scale) : at::Tensor();
    return {dh_NM, {}, dlow_NR, {}, {}, {}, {}};
  }
};

std::optional<at::Tensor> some(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

/// The chosen rows; all of them where `rows` is undefined.
at::Tensor chosen(const at::Tensor& tensor, const at::Tensor& rows) {
  if (!tensor.defined()) return tensor;
  return rows.defined() ? tensor.index_select(0, rows) : tensor.contiguous();
}

}  // namespace

at::Tensor cross_entropy_sum(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                             const at::Tensor& targets_N, const at::Tensor& counts_N,
                             const LowRankProduct& low) {
  const bool with_gradient =
      at::GradMode::is_enabled() &&
      (h_NM.requires_grad() || weight_VM.requires_grad() ||
       (low.defined() && (low.x_NR.requires_grad() || low.b_OR.requires_grad())));
  at::Tensor rows = targets_N.ge(0).nonzero().squeeze(1);
  if (rows.numel() == targets_N.numel()) rows = at::Tensor();
  return CrossEntropyFunction::apply(chosen(h_NM, rows), weight_VM, some(chosen(low.x_NR, rows)),
                                     some(low.b_OR), chosen(targets_N, rows),
                                     some(chosen(counts_N, rows)), with_gradient);
}

at::Tensor cross_entropy_rows(const at::Tensor& h_NM, const at::Tensor& weight_VM,
                              const at::Tensor& targets_N, const LowRankProduct& low) {
  const at::NoGradGuard no_grad;
  const int64_t chunk = rows_per_chunk(weight_VM.size(0));
  std::vector<at::Tensor> losses{at::empty({0}, at::kDouble)};
  for (int64_t begin = 0; begin < h_NM.size(0); begin += chunk) {
    const int64_t count = std::min(chunk, h_NM.size(0) - begin);
    at::Tensor logits_CV = at::mm(h_NM.narrow(0, begin, count), weight_VM.t());
    if (low.defined()) logits_CV.addmm_(low.x_NR.narrow(0, begin, count), low.b_OR.t());
    losses.push_back(softmax_loss(logits_CV, targets_N.narrow(0, begin, count)).cpu());
  }
  return at::cat(losses);
}

}  // namespace dsmoe::nn
