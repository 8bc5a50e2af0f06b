/*
 * feed DEVICE WIDTH HEIGHT FOURCC RATE FILE: plays a file into a v4l2loopback device, over and over.
 *
 * The file holds JPEG images one after the other for MJPG, else raw frames. A static program, because ffmpeg takes
 * long to start in an emulated guest. Stopped with SIGSTOP it is a camera that stalls.
 */
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Bytes of the image that begins here, whole or cut: it ends where another begins, or the file does. */
static size_t jpeg_bytes(const unsigned char *at, size_t left)
{
    for (size_t end = 2; end + 2 < left; end++)
        if (at[end] == 0xff && at[end + 1] == 0xd8 && at[end + 2] == 0xff)
            return end;
    return left;
}

int main(int count, char **words)
{
    if (count != 7 || strlen(words[4]) != 4) {
        fprintf(stderr, "usage: feed DEVICE WIDTH HEIGHT FOURCC RATE FILE\n");
        return 2;
    }
    unsigned width = atoi(words[2]), height = atoi(words[3]), rate = atoi(words[5]);
    const char *fourcc = words[4];
    int jpeg = !strcmp(fourcc, "MJPG"), file = open(words[6], O_RDONLY), device = open(words[1], O_RDWR);
    size_t frame = (size_t)width * height * 2;
    struct stat stat;

    if (file < 0 || fstat(file, &stat))
        die(words[6]);
    if (device < 0)
        die(words[1]);
    if (!rate || !frame || (size_t)stat.st_size < (jpeg ? 4 : frame)) {
        fprintf(stderr, "feed: %s holds no frame of %ux%u, or no rate\n", words[6], width, height);
        return 2;
    }
    const unsigned char *bytes = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        die("mmap");

    struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
    format.fmt.pix.width = width;
    format.fmt.pix.height = height;
    format.fmt.pix.pixelformat = v4l2_fourcc(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
    format.fmt.pix.sizeimage = frame;
    format.fmt.pix.field = V4L2_FIELD_NONE;
    if (ioctl(device, VIDIOC_S_FMT, &format))
        die("VIDIOC_S_FMT");
    struct v4l2_streamparm told = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
    told.parm.output.timeperframe = (struct v4l2_fract){ 1, rate };
    ioctl(device, VIDIOC_S_PARM, &told); /* what readers are told, no more */

    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (size_t at = 0;; at = at < (size_t)stat.st_size ? at : 0) {
        size_t left = stat.st_size - at, length = jpeg ? jpeg_bytes(bytes + at, left) : frame;
        if (length > left) {
            at = stat.st_size;
            continue;
        }
        if (write(device, bytes + at, length) != (ssize_t)length)
            die("write");
        at += length;
        due.tv_nsec += 1000000000 / rate;
        if (due.tv_nsec >= 1000000000) {
            due.tv_nsec -= 1000000000;
            due.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
}
