#pragma once

// The registers of wgmma's instructions, which assembly spells out one by one: for an n of 8 to
// 256, the accumulators' names in the text (PLINTH_D<n>), the operands (PLINTH_OPERANDS<n>), and
// X(n, the numbers of the nine operands after the accumulators) for each n (PLINTH_WGMMA_SIZES).

// clang-format off
#define PLINTH_D8 "%0, %1, %2, %3"
#define PLINTH_D16 PLINTH_D8 ", %4, %5, %6, %7"
#define PLINTH_D24 PLINTH_D16 ", %8, %9, %10, %11"
#define PLINTH_D32 PLINTH_D24 ", %12, %13, %14, %15"
#define PLINTH_D40 PLINTH_D32 ", %16, %17, %18, %19"
#define PLINTH_D48 PLINTH_D40 ", %20, %21, %22, %23"
#define PLINTH_D56 PLINTH_D48 ", %24, %25, %26, %27"
#define PLINTH_D64 PLINTH_D56 ", %28, %29, %30, %31"
#define PLINTH_D72 PLINTH_D64 ", %32, %33, %34, %35"
#define PLINTH_D80 PLINTH_D72 ", %36, %37, %38, %39"
#define PLINTH_D88 PLINTH_D80 ", %40, %41, %42, %43"
#define PLINTH_D96 PLINTH_D88 ", %44, %45, %46, %47"
#define PLINTH_D104 PLINTH_D96 ", %48, %49, %50, %51"
#define PLINTH_D112 PLINTH_D104 ", %52, %53, %54, %55"
#define PLINTH_D120 PLINTH_D112 ", %56, %57, %58, %59"
#define PLINTH_D128 PLINTH_D120 ", %60, %61, %62, %63"
#define PLINTH_D136 PLINTH_D128 ", %64, %65, %66, %67"
#define PLINTH_D144 PLINTH_D136 ", %68, %69, %70, %71"
#define PLINTH_D152 PLINTH_D144 ", %72, %73, %74, %75"
#define PLINTH_D160 PLINTH_D152 ", %76, %77, %78, %79"
#define PLINTH_D168 PLINTH_D160 ", %80, %81, %82, %83"
#define PLINTH_D176 PLINTH_D168 ", %84, %85, %86, %87"
#define PLINTH_D184 PLINTH_D176 ", %88, %89, %90, %91"
#define PLINTH_D192 PLINTH_D184 ", %92, %93, %94, %95"
#define PLINTH_D200 PLINTH_D192 ", %96, %97, %98, %99"
#define PLINTH_D208 PLINTH_D200 ", %100, %101, %102, %103"
#define PLINTH_D216 PLINTH_D208 ", %104, %105, %106, %107"
#define PLINTH_D224 PLINTH_D216 ", %108, %109, %110, %111"
#define PLINTH_D232 PLINTH_D224 ", %112, %113, %114, %115"
#define PLINTH_D240 PLINTH_D232 ", %116, %117, %118, %119"
#define PLINTH_D248 PLINTH_D240 ", %120, %121, %122, %123"
#define PLINTH_D256 PLINTH_D248 ", %124, %125, %126, %127"

#define PLINTH_OPERANDS_AT(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define PLINTH_OPERANDS8 PLINTH_OPERANDS_AT(0)
#define PLINTH_OPERANDS16 PLINTH_OPERANDS8, PLINTH_OPERANDS_AT(4)
#define PLINTH_OPERANDS24 PLINTH_OPERANDS16, PLINTH_OPERANDS_AT(8)
#define PLINTH_OPERANDS32 PLINTH_OPERANDS24, PLINTH_OPERANDS_AT(12)
#define PLINTH_OPERANDS40 PLINTH_OPERANDS32, PLINTH_OPERANDS_AT(16)
#define PLINTH_OPERANDS48 PLINTH_OPERANDS40, PLINTH_OPERANDS_AT(20)
#define PLINTH_OPERANDS56 PLINTH_OPERANDS48, PLINTH_OPERANDS_AT(24)
#define PLINTH_OPERANDS64 PLINTH_OPERANDS56, PLINTH_OPERANDS_AT(28)
#define PLINTH_OPERANDS72 PLINTH_OPERANDS64, PLINTH_OPERANDS_AT(32)
#define PLINTH_OPERANDS80 PLINTH_OPERANDS72, PLINTH_OPERANDS_AT(36)
#define PLINTH_OPERANDS88 PLINTH_OPERANDS80, PLINTH_OPERANDS_AT(40)
#define PLINTH_OPERANDS96 PLINTH_OPERANDS88, PLINTH_OPERANDS_AT(44)
#define PLINTH_OPERANDS104 PLINTH_OPERANDS96, PLINTH_OPERANDS_AT(48)
#define PLINTH_OPERANDS112 PLINTH_OPERANDS104, PLINTH_OPERANDS_AT(52)
#define PLINTH_OPERANDS120 PLINTH_OPERANDS112, PLINTH_OPERANDS_AT(56)
#define PLINTH_OPERANDS128 PLINTH_OPERANDS120, PLINTH_OPERANDS_AT(60)
#define PLINTH_OPERANDS136 PLINTH_OPERANDS128, PLINTH_OPERANDS_AT(64)
#define PLINTH_OPERANDS144 PLINTH_OPERANDS136, PLINTH_OPERANDS_AT(68)
#define PLINTH_OPERANDS152 PLINTH_OPERANDS144, PLINTH_OPERANDS_AT(72)
#define PLINTH_OPERANDS160 PLINTH_OPERANDS152, PLINTH_OPERANDS_AT(76)
#define PLINTH_OPERANDS168 PLINTH_OPERANDS160, PLINTH_OPERANDS_AT(80)
#define PLINTH_OPERANDS176 PLINTH_OPERANDS168, PLINTH_OPERANDS_AT(84)
#define PLINTH_OPERANDS184 PLINTH_OPERANDS176, PLINTH_OPERANDS_AT(88)
#define PLINTH_OPERANDS192 PLINTH_OPERANDS184, PLINTH_OPERANDS_AT(92)
#define PLINTH_OPERANDS200 PLINTH_OPERANDS192, PLINTH_OPERANDS_AT(96)
#define PLINTH_OPERANDS208 PLINTH_OPERANDS200, PLINTH_OPERANDS_AT(100)
#define PLINTH_OPERANDS216 PLINTH_OPERANDS208, PLINTH_OPERANDS_AT(104)
#define PLINTH_OPERANDS224 PLINTH_OPERANDS216, PLINTH_OPERANDS_AT(108)
#define PLINTH_OPERANDS232 PLINTH_OPERANDS224, PLINTH_OPERANDS_AT(112)
#define PLINTH_OPERANDS240 PLINTH_OPERANDS232, PLINTH_OPERANDS_AT(116)
#define PLINTH_OPERANDS248 PLINTH_OPERANDS240, PLINTH_OPERANDS_AT(120)
#define PLINTH_OPERANDS256 PLINTH_OPERANDS248, PLINTH_OPERANDS_AT(124)

#define PLINTH_WGMMA_SIZES(X) \
  X(8, "%4", "%5", "%6", "%7", "%8", "%9", "%10", "%11", "%12") \
  X(16, "%8", "%9", "%10", "%11", "%12", "%13", "%14", "%15", "%16") \
  X(24, "%12", "%13", "%14", "%15", "%16", "%17", "%18", "%19", "%20") \
  X(32, "%16", "%17", "%18", "%19", "%20", "%21", "%22", "%23", "%24") \
  X(40, "%20", "%21", "%22", "%23", "%24", "%25", "%26", "%27", "%28") \
  X(48, "%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31", "%32") \
  X(56, "%28", "%29", "%30", "%31", "%32", "%33", "%34", "%35", "%36") \
  X(64, "%32", "%33", "%34", "%35", "%36", "%37", "%38", "%39", "%40") \
  X(72, "%36", "%37", "%38", "%39", "%40", "%41", "%42", "%43", "%44") \
  X(80, "%40", "%41", "%42", "%43", "%44", "%45", "%46", "%47", "%48") \
  X(88, "%44", "%45", "%46", "%47", "%48", "%49", "%50", "%51", "%52") \
  X(96, "%48", "%49", "%50", "%51", "%52", "%53", "%54", "%55", "%56") \
  X(104, "%52", "%53", "%54", "%55", "%56", "%57", "%58", "%59", "%60") \
  X(112, "%56", "%57", "%58", "%59", "%60", "%61", "%62", "%63", "%64") \
  X(120, "%60", "%61", "%62", "%63", "%64", "%65", "%66", "%67", "%68") \
  X(128, "%64", "%65", "%66", "%67", "%68", "%69", "%70", "%71", "%72") \
  X(136, "%68", "%69", "%70", "%71", "%72", "%73", "%74", "%75", "%76") \
  X(144, "%72", "%73", "%74", "%75", "%76", "%77", "%78", "%79", "%80") \
  X(152, "%76", "%77", "%78", "%79", "%80", "%81", "%82", "%83", "%84") \
  X(160, "%80", "%81", "%82", "%83", "%84", "%85", "%86", "%87", "%88") \
  X(168, "%84", "%85", "%86", "%87", "%88", "%89", "%90", "%91", "%92") \
  X(176, "%88", "%89", "%90", "%91", "%92", "%93", "%94", "%95", "%96") \
  X(184, "%92", "%93", "%94", "%95", "%96", "%97", "%98", "%99", "%100") \
  X(192, "%96", "%97", "%98", "%99", "%100", "%101", "%102", "%103", "%104") \
  X(200, "%100", "%101", "%102", "%103", "%104", "%105", "%106", "%107", "%108") \
  X(208, "%104", "%105", "%106", "%107", "%108", "%109", "%110", "%111", "%112") \
  X(216, "%108", "%109", "%110", "%111", "%112", "%113", "%114", "%115", "%116") \
  X(224, "%112", "%113", "%114", "%115", "%116", "%117", "%118", "%119", "%120") \
  X(232, "%116", "%117", "%118", "%119", "%120", "%121", "%122", "%123", "%124") \
  X(240, "%120", "%121", "%122", "%123", "%124", "%125", "%126", "%127", "%128") \
  X(248, "%124", "%125", "%126", "%127", "%128", "%129", "%130", "%131", "%132") \
  X(256, "%128", "%129", "%130", "%131", "%132", "%133", "%134", "%135", "%136")
// clang-format on
