/* hz: print a file, compressed with zlib or bzip2, whichever is smaller; `hz -d` undoes it.
 * The first byte says which: 'z' or 'b'; eight bytes with the plain length, big endian, follow. */
#include <bzlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEAD = 9 };

static void die(const char *what)
{
    fprintf(stderr, "hz: %s\n", what);
    exit(1);
}

static unsigned char *read_all(FILE *in, size_t *length)
{
    size_t room = 1 << 16, used = 0, got;
    unsigned char *data = malloc(room);

    while (data && (got = fread(data + used, 1, room - used, in)) > 0) {
        used += got;
        if (used == room)
            data = realloc(data, room *= 2);
    }
    if (!data)
        die("out of memory");
    if (ferror(in))
        die("cannot read");
    *length = used;
    return data;
}

static void write_all(const unsigned char *data, size_t length)
{
    if (fwrite(data, 1, length, stdout) != length || fflush(stdout) != 0)
        die("cannot write");
}

static void pack(unsigned char *plain, size_t length)
{
    uLongf zlength = compressBound(length);
    unsigned int blength = length + length / 100 + 600;
    unsigned char *z = malloc(zlength), *b = malloc(blength), head[HEAD];
    int use_zlib;

    if (!z || !b)
        die("out of memory");
    if (compress2(z, &zlength, plain, length, 9) != Z_OK)
        die("zlib failed");
    if (BZ2_bzBuffToBuffCompress((char *)b, &blength, (char *)plain, length, 9, 0, 0) != BZ_OK)
        die("bzip2 failed");
    use_zlib = zlength <= blength;
    head[0] = use_zlib ? 'z' : 'b';
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint64_t)length >> (56 - 8 * i);
    write_all(head, HEAD);
    write_all(use_zlib ? z : b, use_zlib ? zlength : blength);
    free(z);
    free(b);
}

static void unpack(unsigned char *packed, size_t length)
{
    uint64_t plain = 0;
    unsigned char *out;

    if (length < HEAD)
        die("not made by hz");
    for (int i = 0; i < 8; i++)
        plain = plain << 8 | packed[1 + i];
    if (plain > UINT32_MAX || !(out = malloc(plain + 1)))
        die("too long");
    if (packed[0] == 'z') {
        uLongf got = plain;
        if (uncompress(out, &got, packed + HEAD, length - HEAD) != Z_OK || got != plain)
            die("damaged");
    } else if (packed[0] == 'b') {
        unsigned int got = plain;
        if (BZ2_bzBuffToBuffDecompress((char *)out, &got, (char *)packed + HEAD, length - HEAD, 0, 0) != BZ_OK
            || got != plain)
            die("damaged");
    } else {
        die("not made by hz");
    }
    write_all(out, plain);
    free(out);
}

int main(int argc, char **argv)
{
    int undo = argc > 1 && strcmp(argv[1], "-d") == 0;
    FILE *in = argc > 1 + undo ? fopen(argv[1 + undo], "rb") : stdin;
    size_t length;
    unsigned char *data;

    if (!in)
        die("cannot open the file");
    data = read_all(in, &length);
    (undo ? unpack : pack)(data, length);
    free(data);
    return 0;
}
