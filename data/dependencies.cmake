# What the readers of data link, for the library and for its fuzzers: data_link.

find_package(PCRE2 REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc data)
find_package(nlohmann_json REQUIRED)
find_package(SndFile REQUIRED)
find_package(SampleRate REQUIRED)
find_package(PNG REQUIRED)
find_package(TurboJPEG REQUIRED)
find_package(SentencePiece REQUIRED)

set(data_link PCRE2::8BIT ICU::uc ICU::data nlohmann_json::nlohmann_json OpenMP::OpenMP_CXX SndFile::sndfile
              SampleRate::samplerate PNG::PNG TurboJPEG::TurboJPEG SentencePiece::sentencepiece)
