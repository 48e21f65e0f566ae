/* A C program that uses the library: the header is C, and its functions link. */

#include <math.h>
#include <stdio.h>

#include "kernels/c_api/plinth_kernels.h"

int main(void) {
  const float x[4] = {0.0F, 1.0F, 2.0F, 3.0F};
  float y[4] = {0};
  double sum = 0;
  int i;
  if (plinth_kernels_abi_version() != PLINTH_KERNELS_ABI_VERSION) return 1;
  if (plinth_softmax_forward(PLINTH_CPU, NULL, PLINTH_FLOAT32, 2, 2, x, y) != PLINTH_OK) {
    fprintf(stderr, "%s\n", plinth_last_error());
    return 2;
  }
  for (i = 0; i < 4; ++i) sum += y[i];
  if (fabs(sum - 2) > 1e-6 || fabs(y[1] - 1 / (1 + exp(-1.0))) > 1e-6) return 3;
  if (plinth_softmax_forward(PLINTH_CPU, NULL, PLINTH_FLOAT32, 2, -2, x, y) !=
      PLINTH_INVALID_ARGUMENT)
    return 4;
  return 0;
}
