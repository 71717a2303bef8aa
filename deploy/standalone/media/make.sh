#!/bin/sh
# Makes the bundled sample: a moving test picture with a tone, 24 s, in the three kinds of file Penstock plays.
# Needs ffmpeg with libx264 and libmp3lame. The files are committed; run this only to change them.
set -eu
cd "$(dirname "$0")"
seconds=24
ffmpeg -v error -y \
  -f lavfi -i "testsrc2=size=640x360:rate=25:duration=$seconds" \
  -f lavfi -i "sine=frequency=220:beep_factor=4:sample_rate=44100:duration=$seconds" \
  -c:v libx264 -profile:v main -preset veryslow -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -b:v 150k -maxrate 220k -bufsize 300k \
  -c:a aac -b:a 48k -ac 2 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -movflags +faststart sample.mp4
ffmpeg -v error -y -i sample.mp4 -c copy -fflags +bitexact -flvflags add_keyframe_index sample.flv
ffmpeg -v error -y -i sample.mp4 -vn -c:a libmp3lame -b:a 48k -map_metadata -1 -fflags +bitexact sample.mp3
