// The numbers that change from step to step, on their way to where a replayed CUDA graph reads them: they travel as
// arguments, so that no memory of the host has to stay as it is until the device has read it.

// Writes n <= 8 numbers, and the number of the step where `t` is given.
KERNEL put_scalars(T* to, int n, double a, double b, double c, double d, double e, double f, double g, double h,
                   index_t* t, index_t step_number) {
    if (first() > 0) return;
    const double all[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < n; i++) put(to + i, (REAL)all[i]);
    if (t) *t = step_number;
}
