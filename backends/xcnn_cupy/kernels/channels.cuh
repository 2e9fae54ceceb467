// How batch normalisation goes through channels-last images. An array is a matrix of m rows, the positions
// (n, h, w), and c columns, the channels. Where c allows, a thread owns LANES neighbouring channels and moves
// them as 16 bytes; neighbouring threads own neighbouring channels, then neighbouring rows: memory is read as it
// lies.

#define BLOCK 256
#define NARROW 4  // channels of a block in a second stage: few, so that many threads share the parts of each

// Whether packs of LANES channels tile the rows of arrays, null ones left out, and lie where such loads may.
DEVICE bool is_wide(int c, const void* p, const void* q, const void* r, const void* s) {
    return c % LANES == 0 && ((size_t)p | (size_t)q | (size_t)r | (size_t)s) % 16 == 0;
}

// Where a thread sits: it owns one column of packs, and every (gridDim.x * height)-th row.
struct Seat {
    int width, height, column, row;
    bool taken;
};

DEVICE Seat seat(int columns, int widest, int number) {
    Seat s;
    s.width = columns < widest ? columns : widest;
    s.height = BLOCK / s.width;
    s.row = (int)threadIdx.x / s.width;
    s.column = number * s.width + (int)threadIdx.x % s.width;
    s.taken = s.row < s.height && s.column < columns;
    return s;
}
