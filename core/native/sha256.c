/* SHA-256 (FIPS 180-4) of two messages at once on one core, by the processor's own instructions.

   A message's rounds wait for each other, so that one message keeps half of the unit that computes them idle; the
   rounds of another one fit in between. What is to be read next is asked of memory ahead of time: a file that nobody
   has touched for a second would otherwise be hashed at half the speed. core/digest.py is the door to this. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define BLOCK 64
#define AHEAD 1024 /* bytes asked for before they are needed */

struct message {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t rest[BLOCK]; /* of a block that is not whole yet */
};

struct outcome { /* of one file */
    uint8_t sha256[32];
    int64_t bytes;
    int32_t error; /* errno, or 0 */
    int32_t unused;
};

static const uint32_t ROUND[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const uint32_t FIRST[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* The instructions want the eight words of a state as ABEF and CDGH. */
#define TAKE(x)                                                                                                  \
    __m128i abef##x, cdgh##x, w##x[4];                                                                           \
    {                                                                                                            \
        __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state##x), 0xB1);                      \
        __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state##x + 4)), 0x1B);                \
        abef##x = _mm_alignr_epi8(cdab, efgh, 8);                                                                \
        cdgh##x = _mm_blend_epi16(efgh, cdab, 0xF0);                                                             \
    }
#define GIVE(x)                                                                                                  \
    {                                                                                                            \
        __m128i feba = _mm_shuffle_epi32(abef##x, 0x1B);                                                         \
        __m128i dchg = _mm_shuffle_epi32(cdgh##x, 0xB1);                                                         \
        _mm_storeu_si128((__m128i *)state##x, _mm_blend_epi16(feba, dchg, 0xF0));                                \
        _mm_storeu_si128((__m128i *)(state##x + 4), _mm_alignr_epi8(dchg, feba, 8));                             \
    }
#define LOAD(x, i) w##x[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data##x + 16 * (i))), BIG_ENDIAN_32)
#define FOUR_ROUNDS(x, i)                                                                                        \
    {                                                                                                            \
        __m128i sum = _mm_add_epi32(w##x[(i) & 3], _mm_load_si128((const __m128i *)(ROUND + 4 * (i))));          \
        cdgh##x = _mm_sha256rnds2_epu32(cdgh##x, abef##x, sum);                                                  \
        abef##x = _mm_sha256rnds2_epu32(abef##x, cdgh##x, _mm_shuffle_epi32(sum, 0x0E));                         \
    }
#define SCHEDULE(x, i)                                                                                           \
    w##x[(i) & 3] = _mm_sha256msg2_epu32(                                                                        \
        _mm_add_epi32(_mm_sha256msg1_epu32(w##x[(i) & 3], w##x[((i) + 1) & 3]),                                  \
                      _mm_alignr_epi8(w##x[((i) + 3) & 3], w##x[((i) + 2) & 3], 4)),                             \
        w##x[((i) + 3) & 3]);
#define ADD(x)                                                                                                   \
    abef##x = _mm_add_epi32(abef##x, before_abef##x);                                                            \
    cdgh##x = _mm_add_epi32(cdgh##x, before_cdgh##x);
#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define BIG_ENDIAN_32 _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL)

WITH_SHA static void compress_one(uint32_t *state0, const uint8_t *data0, size_t blocks) {
    TAKE(0)
    for (; blocks; blocks--, data0 += BLOCK) {
        __m128i before_abef0 = abef0, before_cdgh0 = cdgh0;
        __builtin_prefetch(data0 + AHEAD);
        LOAD(0, 0), LOAD(0, 1), LOAD(0, 2), LOAD(0, 3);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            FOUR_ROUNDS(0, i)
            if (i < 12) SCHEDULE(0, i)
        }
        ADD(0)
    }
    GIVE(0)
}

WITH_SHA static void compress_two(
    uint32_t *state0, const uint8_t *data0, uint32_t *state1, const uint8_t *data1, size_t blocks) {
    TAKE(0)
    TAKE(1)
    for (; blocks; blocks--, data0 += BLOCK, data1 += BLOCK) {
        __m128i before_abef0 = abef0, before_cdgh0 = cdgh0, before_abef1 = abef1, before_cdgh1 = cdgh1;
        __builtin_prefetch(data0 + AHEAD);
        __builtin_prefetch(data1 + AHEAD);
        LOAD(0, 0), LOAD(1, 0), LOAD(0, 1), LOAD(1, 1), LOAD(0, 2), LOAD(1, 2), LOAD(0, 3), LOAD(1, 3);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            FOUR_ROUNDS(0, i)
            FOUR_ROUNDS(1, i)
            if (i < 12) {
                SCHEDULE(0, i)
                SCHEDULE(1, i)
            }
        }
        ADD(0)
        ADD(1)
    }
    GIVE(0)
    GIVE(1)
}

/* Whether this processor has the instructions. */
int sha256_is_here(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 29))) return 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
}

static void begin(struct message *message) {
    memcpy(message->state, FIRST, sizeof FIRST);
    message->bytes = 0;
}

/* What completes a block begun before is done at once. What is left begins at a block's begin. */
static void complete_block(struct message *message, const uint8_t **data, size_t *size) {
    size_t there = message->bytes % BLOCK, taken = BLOCK - there < *size ? BLOCK - there : *size;
    if (!there) return;
    memcpy(message->rest + there, *data, taken);
    message->bytes += taken, *data += taken, *size -= taken;
    if (there + taken == BLOCK) compress_one(message->state, message->rest, 1);
}

static void finish_data(struct message *message, const uint8_t *data, size_t size) {
    compress_one(message->state, data, size / BLOCK);
    memcpy(message->rest, data + size / BLOCK * BLOCK, size % BLOCK);
    message->bytes += size;
}

/* Adds to two messages what they have next; the longer one's surplus is hashed alone. */
static void add_both(struct message *message0, const uint8_t *data0, size_t size0,
                     struct message *message1, const uint8_t *data1, size_t size1) {
    complete_block(message0, &data0, &size0);
    complete_block(message1, &data1, &size1);
    size_t both = (size0 < size1 ? size0 : size1) / BLOCK;
    compress_two(message0->state, data0, message1->state, data1, both);
    message0->bytes += both * BLOCK, message1->bytes += both * BLOCK;
    finish_data(message0, data0 + both * BLOCK, size0 - both * BLOCK);
    finish_data(message1, data1 + both * BLOCK, size1 - both * BLOCK);
}

static void end(struct message *message, uint8_t *sha256) {
    uint8_t last[2 * BLOCK] = {0};
    size_t there = message->bytes % BLOCK, size = there < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint64_t bits = message->bytes * 8;
    memcpy(last, message->rest, there);
    last[there] = 0x80;
    for (size_t i = 0; i < 8; i++) last[size - 1 - i] = (uint8_t)(bits >> 8 * i);
    compress_one(message->state, last, size / BLOCK);
    for (int i = 0; i < 32; i++) sha256[i] = (uint8_t)(message->state[i / 4] >> (24 - i % 4 * 8));
}

struct reading { /* one file of several, and what has been read of it */
    struct message message;
    struct outcome *outcome; /* NULL: there is no file */
    int file;
    const uint8_t *data;
    size_t size;
};

/* A read past the system's memory must begin at a page; after the file's end none does. */
static int turn_to_memory(int file) {
    int flags = fcntl(file, F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) && fcntl(file, F_SETFL, flags & ~O_DIRECT) == 0;
}

static ssize_t read_some(int file, uint8_t *space, size_t size) {
    for (;;) {
        ssize_t many = read(file, space, size);
        if (many > 0 && many % 4096) turn_to_memory(file);
        if (many >= 0 || (errno != EINTR && !(errno == EINVAL && turn_to_memory(file)))) return many;
    }
}

/* Makes sure that there is something to hash, with the next file where one is over. */
static void fill(struct reading *one, uint8_t *space, size_t space_bytes, const int *files, size_t count,
                 size_t *next, struct outcome *outcomes) {
    while (!one->size) {
        if (!one->outcome) {
            if (*next == count) return;
            one->file = files[*next];
            one->outcome = outcomes + (*next)++;
            one->outcome->error = 0;
            begin(&one->message);
        }
        ssize_t many = read_some(one->file, space, space_bytes);
        if (many > 0) {
            one->data = space;
            one->size = (size_t)many;
            return;
        }
        one->outcome->error = many < 0 ? errno : 0;
        one->outcome->bytes = (int64_t)one->message.bytes;
        end(&one->message, one->outcome->sha256);
        one->outcome = NULL;
    }
}

/* Reads open files to their ends, two at a time, and tells each one's hash. `space`: of twice `space_bytes`, a multiple
   of 4096; it begins at a page. */
void sha256_files(const int *files, size_t count, uint8_t *space, size_t space_bytes, struct outcome *outcomes) {
    struct reading one = {.data = space}, other = {.data = space};
    size_t next = 0;
    for (;;) {
        fill(&one, space, space_bytes, files, count, &next, outcomes);
        fill(&other, space + space_bytes, space_bytes, files, count, &next, outcomes);
        if (!one.size && !other.size) return;
        size_t both = one.size < other.size ? one.size : other.size;
        if (!both) both = one.size + other.size;
        size_t size0 = one.size ? both : 0, size1 = other.size ? both : 0;
        add_both(&one.message, one.data, size0, &other.message, other.data, size1);
        one.data += size0, one.size -= size0;
        other.data += size1, other.size -= size1;
    }
}

#else

int sha256_is_here(void) { return 0; }

#endif
