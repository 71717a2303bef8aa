//! Files made by ffmpeg in many shapes, compared sample by sample with what ffprobe reads; damaged files; what is read.

mod films;
mod lies;
mod reads;
mod seeks;
mod shapes;
