// Images between N, C, H, W and N, H, W, C, and numbers between T and REAL.

const int TILE = 32;  // numbers along the sides of a tile
const int FRONT = 8;  // rows of a tile that a block of 256 threads moves at once

// y[n, j, i] = x[n, i, j] of images of rows x columns; in the order of y, where few rows or columns, say three
// colours, would leave most of a tile empty, and what is read out of order lies near.
template <typename FROM, typename TO>
DEVICE void transpose_few(const FROM* x, TO* y, index_t images, index_t rows, index_t columns) {
    const index_t size = rows * columns;
    for (index_t n = first_row(); n < images; n += row_step())
        for (index_t i = first(); i < size; i += step())
            put(&y[n * size + i], value(x[n * size + i % rows * columns + i / rows]));
}

// The same tile by tile, so that both sides are read and written in order. The column that a tile has too many
// keeps threads that read down from meeting in one bank.
template <typename FROM, typename TO>
DEVICE void transpose_images(const FROM* x, TO* y, index_t images, index_t rows, index_t columns) {
    __shared__ REAL tile[TILE][TILE + 1];
    if (rows < FRONT || columns < FRONT) {
        transpose_few(x, y, images, rows, columns);
        return;
    }
    const int across = threadIdx.x % TILE, down = threadIdx.x / TILE;
    const index_t wide = (columns + TILE - 1) / TILE, tiles = (rows + TILE - 1) / TILE * wide;
    for (index_t n = first_row(); n < images; n += row_step()) {
        const index_t start = n * rows * columns;
        for (index_t t = blockIdx.x; t < tiles; t += gridDim.x) {
            const index_t top = t / wide * TILE, left = t % wide * TILE;
            for (int k = down; k < TILE; k += FRONT)
                if (top + k < rows && left + across < columns)
                    tile[k][across] = value(x[start + (top + k) * columns + left + across]);
            __syncthreads();
            for (int k = down; k < TILE; k += FRONT)
                if (left + k < columns && top + across < rows)
                    put(&y[start + (left + k) * rows + top + across], tile[across][k]);
            __syncthreads();
        }
    }
}

KERNEL transpose(const T* x, T* y, index_t images, index_t rows, index_t columns) {
    transpose_images(x, y, images, rows, columns);
}

KERNEL transpose_narrow(const REAL* x, T* y, index_t images, index_t rows, index_t columns) {
    transpose_images(x, y, images, rows, columns);
}

KERNEL transpose_widen(const T* x, REAL* y, index_t images, index_t rows, index_t columns) {
    transpose_images(x, y, images, rows, columns);
}

KERNEL narrow(const REAL* x, T* y, index_t n) {
    for (index_t i = first(); i < n; i += step()) put(&y[i], x[i]);
}

KERNEL widen(const T* x, REAL* y, index_t n) {
    for (index_t i = first(); i < n; i += step()) y[i] = value(x[i]);
}
