// The values of a run, one flat vector, to kernels of kind T with channels last and vectors; and gradients back.
//
// Values are moved in pieces, one to a block; a row of the table is a piece:
//     start of its array in the values, in the gradient, and in the packed buffer; its first number in the
//     array, how many; C, KH * KW; whether it is of a vector
// C and KH * KW are 1 where nothing is to be rearranged.

enum { VALUES, GRADIENT, PACKED, FROM, COUNT, CHANNELS, TAPS, VECTOR, FIELDS };

struct Piece {
    index_t flat, packed;
    word_t from, stop, channels, taps;
    bool vector;
};

DEVICE Piece piece(const index_t* table, index_t i, int flat) {
    const index_t* row = table + FIELDS * i;
    const word_t from = (word_t)row[FROM], stop = from + (word_t)row[COUNT];
    return {row[flat], row[PACKED], from, stop, (word_t)row[CHANNELS], (word_t)row[TAPS], row[VECTOR] != 0};
}

// Number i of an array (F, KH * KW, C) is this one of the same array (F, C, KH * KW).
DEVICE word_t channels_first(word_t i, word_t channels, word_t taps) {
    const word_t c = i % channels, rest = i / channels;
    return (rest / taps * channels + c) * taps + rest % taps;
}

KERNEL pack(const REAL* values, T* kernels, REAL* vectors, const index_t* table, index_t pieces) {
    for (index_t p = blockIdx.x; p < pieces; p += gridDim.x) {
        const Piece a = piece(table, p, VALUES);
        for (word_t i = a.from + threadIdx.x; i < a.stop; i += blockDim.x) {
            const REAL number = values[a.flat + channels_first(i, a.channels, a.taps)];
            if (a.vector) {
                vectors[a.packed + i] = number;
            } else {
                put(&kernels[a.packed + i], number);
            }
        }
    }
}

KERNEL unpack(const T* kernels, const REAL* vectors, REAL* gradient, const index_t* table, index_t pieces) {
    for (index_t p = blockIdx.x; p < pieces; p += gridDim.x) {
        const Piece a = piece(table, p, GRADIENT);
        for (word_t i = a.from + threadIdx.x; i < a.stop; i += blockDim.x) {
            const index_t from = a.packed + channels_first(i, a.taps, a.channels);  // the way back
            gradient[a.flat + i] = a.vector ? vectors[from] : value(kernels[from]);
        }
    }
}
