#include "modules/embedding.h"

#include "modules/dispatch_type.h"
#include "modules/gradient.h"
#include "modules/own_kernels.h"

namespace dsmoe::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Threads share the columns, not the rows: no races, and one order of summation.
template <class Grad, class Row>
void add_token_rows(Grad* gradient, const int64_t* ids, const Row* rows, int64_t count,
                    int64_t dim) {
  at::parallel_for(0, dim, 64, [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t i = begin; i < end; ++i) {
        gradient[ids[n] * dim + i] += static_cast<Grad>(rows[n * dim + i]);
      }
    }
  });
}

struct EmbedFunction : torch::autograd::Function<EmbedFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& ids_N,
                            const at::Tensor& weight_VM) {
    ctx->save_for_backward({ids_N, weight_VM});
    return weight_VM.index_select(0, ids_N);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    at::Tensor gradient_VM = gradient_of(saved[1]);
    const at::Tensor rows_NM = grads[0].to(gradient_VM.scalar_type()).contiguous();
    if (!has_own_kernels(rows_NM)) {
      gradient_VM.index_add_(0, saved[0], rows_NM);
      return {{}, {}};
    }
    AT_DISPATCH_FLOATING_TYPES(gradient_VM.scalar_type(), "embed_backward", [&] {
      add_token_rows(gradient_VM.mutable_data_ptr<scalar_t>(), saved[0].const_data_ptr<int64_t>(),
                     rows_NM.const_data_ptr<scalar_t>(), rows_NM.size(0), rows_NM.size(1));
    });
    return {{}, {}};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& ids_N, const at::Tensor& weight_VM) {
  return EmbedFunction::apply(ids_N.contiguous(), weight_VM);
}

}  // namespace dsmoe::nn
