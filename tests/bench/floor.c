/* What any recording LL-HLS server pays for a stream before a line of its own: the system's calls, and SHA-256.
 *
 *     floor PORT MEMORY_FOLDER DISK_FOLDER STREAMS
 *
 * It answers publishers just enough (handshake, two commands) and then understands nothing: it reads each socket every
 * 20 ms and every half second writes what came as mbashara does: a video and an audio part and their playlists as files in
 * memory, each renamed into place, parts gone after 15 s; the same bytes appended to a segment on disk, renamed after
 * 4 s; and their hash. No message is parsed, no box is made, no thread, no journal, no ledger. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 4 << 20, PLAYLIST = 2500, KEPT_PARTS = 30, PARTS_A_SEGMENT = 8, AUDIO_SHARE = 32 };
static const double READ_S = 0.02, PART_S = 0.5;

struct stream {
    int socket, file, part, segment;
    size_t bytes;
    unsigned char *buffer;
    double due_s;
    EVP_MD_CTX *hash;
};

static const char *memory_folder, *disk_folder;

static double now_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void check(int is_well, const char *what)
{
    if (!is_well) {
        perror(what);
        exit(1);
    }
}

static void replace(const char *name, const void *data, size_t bytes)
{
    char fresh[600];
    snprintf(fresh, sizeof fresh, "%s.new", name);
    int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    check(file >= 0 && write(file, data, bytes) == (ssize_t)bytes, fresh);
    close(file);
    check(rename(fresh, name) == 0, name);
}

static void in_memory(int number, char kind, int part, const unsigned char *data, size_t bytes)
{
    static char playlist[PLAYLIST], name[500];
    snprintf(name, sizeof name, "%s/%d%c.%d", memory_folder, number, kind, part);
    replace(name, data, bytes);
    snprintf(name, sizeof name, "%s/%d%c.m3u8", memory_folder, number, kind);
    replace(name, playlist, sizeof playlist);
    if (part >= KEPT_PARTS) {
        snprintf(name, sizeof name, "%s/%d%c.%d", memory_folder, number, kind, part - KEPT_PARTS);
        unlink(name);
    }
}

static void on_disk(int number, struct stream *one)
{
    char partial[500], whole[510];
    unsigned char digest[EVP_MAX_MD_SIZE];
    snprintf(partial, sizeof partial, "%s/%d.%d", disk_folder, number, one->segment);
    if (one->file < 0) {
        one->file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
        EVP_DigestInit_ex(one->hash, EVP_sha256(), NULL);
    }
    check(write(one->file, one->buffer, one->bytes) == (ssize_t)one->bytes, partial);
    EVP_DigestUpdate(one->hash, one->buffer, one->bytes);
    if ((one->part + 1) % PARTS_A_SEGMENT == 0) {
        EVP_DigestFinal_ex(one->hash, digest, NULL);
        close(one->file);
        one->file = -1;
        one->segment++;
        snprintf(whole, sizeof whole, "%s.m4s", partial);
        check(rename(partial, whole) == 0, whole);
    }
}

static void await(int peer, const char *word)
{
    static char got[1 << 16];
    size_t bytes = 0;
    while (!memmem(got, bytes, word, strlen(word))) {
        ssize_t more = read(peer, got + bytes, sizeof got - bytes);
        check(more > 0, word);
        bytes += more;
    }
}

static void say(int peer, const char *text, size_t bytes)
{
    check(write(peer, text, bytes) == (ssize_t)bytes, "answer");
}

static int accept_publisher(int door)
{
    static char nothing[3073];
    int peer = accept(door, NULL, NULL);
    check(peer >= 0 && recv(peer, nothing, 1537, MSG_WAITALL) == 1537, "handshake");
    say(peer, nothing, sizeof nothing);
    await(peer, "connect");
    say(peer, "NetConnection.Connect.Success", 29);
    await(peer, "publish");
    say(peer, "NetStream.Publish.Start", 23);
    fcntl(peer, F_SETFL, O_NONBLOCK);
    return peer;
}

int main(int count, char **words)
{
    check(count == 5, "PORT MEMORY_FOLDER DISK_FOLDER STREAMS");
    memory_folder = words[2], disk_folder = words[3];
    int streams = atoi(words[4]), door = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(bind(door, (struct sockaddr *)&here, sizeof here) == 0 && listen(door, 128) == 0, "listen");
    puts("ready");
    fflush(stdout);
    struct stream *all = calloc(streams, sizeof *all);
    for (int i = 0; i < streams; i++)
        all[i] = (struct stream){
            .socket = accept_publisher(door), .file = -1, .buffer = malloc(BUFFER), .hash = EVP_MD_CTX_new()};
    for (int i = 0; i < streams; i++)
        all[i].due_s = now_s() + PART_S * (1 + (double)i / streams);
    for (;;) {
        struct timespec rest = {0, READ_S * 1e9};
        nanosleep(&rest, NULL);
        for (int i = 0; i < streams; i++) {
            struct stream *s = &all[i];
            ssize_t more = read(s->socket, s->buffer + s->bytes, BUFFER - s->bytes);
            if (more == 0)
                return 0;
            s->bytes += more > 0 ? more : 0;
            if (now_s() < s->due_s)
                continue;
            size_t audio = s->bytes / AUDIO_SHARE;
            in_memory(i, 'v', s->part, s->buffer, s->bytes - audio);
            in_memory(i, 'a', s->part, s->buffer + s->bytes - audio, audio);
            on_disk(i, s);
            s->due_s += PART_S, s->part++, s->bytes = 0;
        }
    }
}
